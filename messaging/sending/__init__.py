"""Accept messages of the business: check them, and owe them. Performing is `messaging.delivery`."""
