"""A WhatsApp account that is linked as a device: its session process, lease, store and sends."""
