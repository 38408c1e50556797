"""Accept messages of the business: check and queue them. Performing is `messaging.delivery`."""
