"""Meta's Graph API and its callbacks, on loopback: a server to develop and test against."""
