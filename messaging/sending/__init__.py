"""Queue messages of the business, once they are checked. Performing is `messaging.delivery`."""
