"""What knows no tenant and no WhatsApp; every other package may import it."""
