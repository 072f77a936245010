/*
The nouns: toolboxes, servers, templates, agents, connections, under the names they have had since before.

INVARIANTS
- Tokens are stored as SHA-256 (hex). A table with a token, an address or a setting in it has no policy at all, so that
  nobody reads it directly, not even where somebody grants all tables to everybody (@supabase/lite does).
- Nobody is granted insert, update or delete, and there are no policies for them; the functions of the later migrations
  write.
- revision counts what people changed; edits says in which revision each member was changed last. Both are kept by the
  trigger `stamp`, whoever writes.
*/

create table if not exists public.account_tool_environments (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references public.people (id) on delete set null,
  name text not null check (length(btrim(name)) between 1 and 64),
  description text not null default '' check (length(description) <= 500),
  kind text not null default 'host' check (kind in ('this-computer', 'host', 'droplet')),
  url text check (url ~ '^https?://[^/]' and length(url) <= 2048),
  certificate_fingerprint text check (certificate_fingerprint ~ '^([0-9A-F]{2}:){31}[0-9A-F]{2}$'),
  do_droplet_id bigint unique,
  do_droplet_name text check (length(do_droplet_name) <= 255),
  public_ip_address inet,
  region_slug text check (length(region_slug) <= 64),
  size_slug text check (length(size_slug) <= 64),
  image_slug text check (length(image_slug) <= 255),
  status text not null default 'awaiting_heartbeat' check (status in (
    'inactive', 'pending_creation', 'creating', 'active', 'error_creation', 'pending_deletion', 'deleting',
    'error_deletion', 'unresponsive', 'scaling', 'pending_provision', 'provisioning', 'error_provisioning',
    'pending_deprovision', 'deprovisioning', 'deprovisioned', 'error_deprovisioning', 'awaiting_heartbeat')),
  dtma_bearer_token text check (dtma_bearer_token ~ '^[a-f0-9]{64}$'),
  dtma_last_known_version text,
  dtma_health_details_json jsonb,
  provisioning_error_message text,
  last_heartbeat_at timestamptz,
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on column public.account_tool_environments.dtma_bearer_token is 'SHA-256 (hex) of the toolbox''s token.';

create table if not exists public.tool_catalog (
  id uuid primary key default gen_random_uuid(),
  slug text not null unique check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  tool_name text not null,
  name text not null check (length(btrim(name)) between 1 and 200),
  description text not null default '',
  categories text[] not null default '{}',
  icon_url text,
  documentation_url text,
  package_identifier text,
  docker_image_url text,
  version_info jsonb,
  default_config_template jsonb,
  required_secrets_schema jsonb,
  required_config_schema jsonb,
  required_capabilities_schema jsonb,
  resource_requirements jsonb,
  status text not null default 'available'
    check (status in ('available', 'beta', 'experimental', 'deprecated', 'archived')),
  provider text,
  version text,
  is_public boolean not null default true,
  definition jsonb not null check (jsonb_typeof(definition) = 'object' and length(definition::text) <= 262144),
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table if not exists public.account_tool_instances (
  id uuid primary key default gen_random_uuid(),
  account_tool_environment_id uuid not null references public.account_tool_environments (id) on delete cascade,
  tool_catalog_id uuid references public.tool_catalog (id) on delete restrict,
  template_slug text check (template_slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  status_on_toolbox text not null default 'pending_deploy' check (status_on_toolbox in (
    'pending_install', 'installing', 'active', 'error_install', 'pending_uninstall', 'uninstalling', 'uninstalled',
    'error_uninstall', 'pending_config', 'stopped', 'starting', 'stopping', 'error_runtime', 'disabled',
    'pending_deploy', 'deploying', 'running', 'error', 'pending_delete', 'deleting')),
  instance_name_on_toolbox text not null check (instance_name_on_toolbox ~ '^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$'),
  description text not null default '' check (length(description) <= 500),
  base_config_override_json jsonb,
  config_values jsonb,
  port_mapping_json jsonb,
  version text,
  instance_error_message text,
  last_heartbeat_from_dtma timestamptz,
  mcp_server_type text not null default 'mcp_server' check (mcp_server_type in ('standard_tool', 'mcp_server')),
  mcp_endpoint_path text,
  mcp_transport_type text not null default 'stdio'
    check (mcp_transport_type in ('stdio', 'sse', 'websocket', 'streamable_http')),
  mcp_server_capabilities jsonb,
  mcp_discovery_metadata jsonb,
  spec jsonb check (length(spec::text) <= 262144),
  desired_state text not null default 'running' check (desired_state in ('running', 'stopped', 'deleted')),
  reported jsonb not null default '{"state": "never"}',
  tools_tag text,
  tools_hash text,
  tools_count integer,
  tools_at timestamptz,
  last_running_at timestamptz,
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint account_tool_instances_name_key unique (account_tool_environment_id, instance_name_on_toolbox)
);
create index if not exists account_tool_instances_catalog on public.account_tool_instances (tool_catalog_id);
create index if not exists account_tool_instances_slug on public.account_tool_instances (template_slug);
create index if not exists account_tool_instances_tools on public.account_tool_instances (tools_hash);

create table if not exists public.agents (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references public.people (id) on delete cascade,
  name text not null check (length(btrim(name)) between 1 and 80),
  description text not null default '' check (length(description) <= 500),
  active boolean not null default true,
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object' and length(metadata::text) <= 65536),
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index if not exists agents_user on public.agents (user_id);

create table if not exists public.agent_mcp_connections (
  id uuid primary key default gen_random_uuid(),
  agent_id uuid not null references public.agents (id) on delete cascade,
  mcp_server_instance_id uuid not null references public.account_tool_instances (id) on delete cascade,
  -- The agent's owner, also known when the agent is gone; kept by the trigger `own`.
  user_id uuid not null,
  connection_config jsonb not null default '{"allowedTools": null}'
    check (jsonb_typeof(connection_config) = 'object' and length(connection_config::text) <= 600000),
  is_active boolean not null default true,
  token_hash text check (token_hash ~ '^[a-f0-9]{64}$'),
  revision bigint not null default 1,
  edits jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint agent_mcp_connections_pair_key unique (agent_id, mcp_server_instance_id)
);
create index if not exists agent_mcp_connections_server on public.agent_mcp_connections (mcp_server_instance_id);
create index if not exists agent_mcp_connections_user on public.agent_mcp_connections (user_id);

/* What toolboxes report that is too lively, or too large, for the rows above. */

create table if not exists dtma.toolsets (
  hash text primary key,
  items jsonb not null
);

create table if not exists dtma.toolbox_reports (
  toolbox_id uuid primary key references public.account_tool_environments (id) on delete cascade,
  at timestamptz not null,
  load jsonb
);

create table if not exists dtma.server_reports (
  server_id uuid primary key references public.account_tool_instances (id) on delete cascade,
  at timestamptz not null,
  sessions integer not null default 0,
  load jsonb
);

create table if not exists dtma.connection_usage (
  connection_id uuid primary key references public.agent_mcp_connections (id) on delete cascade,
  boot_id text not null,
  boot_calls bigint not null,
  boot_errors bigint not null,
  calls bigint not null,
  errors bigint not null,
  last_used_at timestamptz,
  published_calls bigint not null default 0,
  published_errors bigint not null default 0,
  published_at timestamptz
);

alter table public.account_tool_environments enable row level security;
alter table public.tool_catalog enable row level security;
alter table public.account_tool_instances enable row level security;
alter table public.agents enable row level security;
alter table public.agent_mcp_connections enable row level security;
alter table dtma.toolsets enable row level security;
alter table dtma.toolbox_reports enable row level security;
alter table dtma.server_reports enable row level security;
alter table dtma.connection_usage enable row level security;

revoke all on table public.account_tool_environments, public.tool_catalog, public.account_tool_instances, public.agents,
  public.agent_mcp_connections from public, anon, authenticated;

/* Arguments of the trigger are the columns that people edit. */
create or replace function dtma.stamp() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  before jsonb;
  after jsonb;
  changed jsonb;
begin
  if tg_op = 'INSERT' then
    new.revision := 1;
    new.edits := '{}';
    return new;
  end if;
  before := to_jsonb(old);
  after := to_jsonb(new);
  select jsonb_object_agg(c, old.revision + 1) into changed
    from unnest(tg_argv) c where before -> c is distinct from after -> c;
  if changed is null then
    new.revision := old.revision;
    new.edits := old.edits;
  else
    new.revision := old.revision + 1;
    new.edits := old.edits || changed;
    new.updated_at := now();
  end if;
  return new;
end
$$;

create or replace function dtma.own() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  select a.user_id into new.user_id from public.agents a where a.id = new.agent_id;
  return new;
end
$$;

create or replace trigger stamp before insert or update of name, email, login_role, revision, edits on public.people
  for each row execute function dtma.stamp('name', 'email', 'login_role');
create or replace trigger stamp before insert or update of name, description, kind, url, certificate_fingerprint,
    do_droplet_id, do_droplet_name, public_ip_address, region_slug, size_slug, image_slug, dtma_bearer_token,
    revision, edits on public.account_tool_environments
  for each row execute function dtma.stamp('name', 'description', 'kind', 'url', 'certificate_fingerprint',
    'do_droplet_id', 'do_droplet_name', 'public_ip_address', 'region_slug', 'size_slug', 'image_slug', 'dtma_bearer_token');
create or replace trigger stamp before insert or update on public.tool_catalog
  for each row execute function dtma.stamp('slug', 'definition', 'is_public', 'status');
create or replace trigger stamp before insert or update of account_tool_environment_id, instance_name_on_toolbox,
    template_slug, description, spec, desired_state, mcp_server_type, revision, edits on public.account_tool_instances
  for each row execute function dtma.stamp('account_tool_environment_id', 'instance_name_on_toolbox', 'template_slug',
    'description', 'spec', 'desired_state', 'mcp_server_type');
create or replace trigger stamp before insert or update on public.agents
  for each row execute function dtma.stamp('name', 'description', 'active', 'metadata');
create or replace trigger stamp before insert or update on public.agent_mcp_connections
  for each row execute function dtma.stamp('connection_config', 'is_active', 'token_hash');
create or replace trigger own before insert or update of agent_id, user_id on public.agent_mcp_connections
  for each row execute function dtma.own();

/* Reading directly, where nothing has to be hidden from who may see the row. Everything else: sync_pull. */

create or replace function dtma.may_be_seen(p_server public.account_tool_instances) returns boolean
language sql immutable
return (p_server).mcp_server_type = 'mcp_server' and (p_server).status_on_toolbox in ('running', 'active')
  and (p_server).desired_state <> 'deleted';

grant select on public.tool_catalog, public.agents to authenticated;

drop policy if exists "admins, and members the public ones" on public.tool_catalog;
create policy "admins, and members the public ones" on public.tool_catalog for select to authenticated
  using ((select dtma.is_admin()) or (is_public and status <> 'archived' and (select dtma.is_member())));

drop policy if exists "owner, and admins" on public.agents;
create policy "owner, and admins" on public.agents for select to authenticated
  using ((select dtma.is_admin()) or (user_id = (select dtma.person_id()) and (select dtma.is_member())));

revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261123000200', 'tables');
