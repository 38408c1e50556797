SELECT id, platform_message_id, sender, text, timestamp_utc
FROM messages
WHERE workspace_id = 'your-workspace-id' AND platform = 5
ORDER BY timestamp_utc DESC LIMIT 10;
