INSERT INTO workspaces (id, tenant_id, name, platform, external_id, is_active, created_at, updated_at)
VALUES (gen_random_uuid(), 'your-tenant-uuid', 'WhatsApp Business Support', 5, '123456789012345', true, now(), now());
