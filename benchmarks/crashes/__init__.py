"""``make crashes``: end senders between every two steps of a send; nothing twice, nothing lost."""
