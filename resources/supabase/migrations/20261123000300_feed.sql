/*
The change feed and the audit log, both written by triggers, whoever writes the tables.

INVARIANTS
- The feed has one entry per row: its newest change. It is ordered by (xid, seq), xid being the transaction that changed
  the row. A reader is shown entries of transactions older than every running one only (see sync_pull), so one that
  commits late lands behind every cursor that has been handed out.
- reader says who is told of a row: nobody else learns that it exists. Admins are told of everything.
- Nothing that nobody sees (heartbeats, load, sessions) touches the feed.
- audit_log is only ever added to, and never holds a token or its hash.
*/

create sequence if not exists dtma.sync_seq cache 32;

create table if not exists dtma.sync_changes (
  entity text not null,
  id uuid not null,
  -- How the row is called outside when that is not its id: templates.
  key text,
  -- A person, or one of dtma.everybody() and dtma.admins().
  reader uuid not null,
  xid xid8 not null,
  seq bigint not null,
  revision bigint not null,
  is_deleted boolean not null,
  primary key (entity, id)
) with (fillfactor = 80);
create index if not exists sync_changes_order on dtma.sync_changes (xid, seq);
create index if not exists sync_changes_reader_order on dtma.sync_changes (reader, xid, seq);
alter table dtma.sync_changes enable row level security;

create or replace function dtma.everybody() returns uuid
language sql immutable return '00000000-0000-0000-0000-000000000000'::uuid;
create or replace function dtma.admins() returns uuid
language sql immutable return 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid;

create table if not exists public.sync_nudges (
  id bigint generated always as identity primary key,
  at timestamptz not null default now()
);
alter table public.sync_nudges enable row level security;
revoke all on table public.sync_nudges from public, anon, authenticated;
grant select on public.sync_nudges to authenticated;
drop policy if exists "members" on public.sync_nudges;
create policy "members" on public.sync_nudges for select to authenticated using ((select dtma.is_member()));

do $$
begin
  if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) and not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sync_nudges') then
    begin
      alter publication supabase_realtime add table public.sync_nudges;
    exception when insufficient_privilege then
      raise notice 'Realtime will not announce changes: its publication belongs to somebody else.';
    end;
  end if;
  update dtma.workspace set announces_to_realtime = exists (
    select from pg_publication_tables
    where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sync_nudges');
end
$$;

-- Once per transaction: NOTIFY, and a row for realtime where it listens. Both say no more than "pull".
create or replace function dtma.nudge() returns void
language plpgsql set search_path = '' as $$
declare
  this text := pg_current_xact_id()::text;
begin
  if current_setting('dtma.nudged', true) = this then
    return;
  end if;
  perform set_config('dtma.nudged', this, true);
  notify dtma_sync;
  if (select w.announces_to_realtime from dtma.workspace w) then
    insert into public.sync_nudges default values;
    -- A hundred are kept on average; which ones go does not matter.
    if random() < 0.01 then
      delete from public.sync_nudges where id in (
        select n.id from public.sync_nudges n where n.at < now() - interval '1 minute' for update skip locked);
    end if;
  end if;
end
$$;

create or replace function dtma.touch(
  p_entity text, p_id uuid, p_key text, p_reader uuid, p_revision bigint, p_is_deleted boolean) returns void
language plpgsql set search_path = '' as $$
begin
  insert into dtma.sync_changes as c (entity, id, key, reader, xid, seq, revision, is_deleted)
  values (p_entity, p_id, p_key, p_reader, pg_current_xact_id(), nextval('dtma.sync_seq'), p_revision, p_is_deleted)
  on conflict (entity, id) do update set key = excluded.key, reader = excluded.reader, xid = excluded.xid,
    seq = excluded.seq, revision = excluded.revision, is_deleted = excluded.is_deleted;
  perform dtma.nudge();
end
$$;

create or replace function dtma.feed_person() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('person', old.id, null, old.id, old.revision, true);
  else
    perform dtma.touch('person', new.id, null, new.id, new.revision, false);
  end if;
  return null;
end
$$;

create or replace function dtma.feed_role() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform dtma.touch('person', p.id, null, p.id, p.revision, false)
    from public.people p where p.id = case when tg_op = 'DELETE' then old.user_id else new.user_id end;
  return null;
end
$$;

-- A toolbox's name, address and certificate stand in the rows of its servers and connections too.
create or replace function dtma.feed_toolbox() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('toolbox', old.id, null, dtma.admins(), old.revision, true);
    return null;
  end if;
  perform dtma.touch('toolbox', new.id, null, dtma.admins(), new.revision, false);
  if tg_op = 'UPDATE' and (new.name, new.url, new.certificate_fingerprint)
      is distinct from (old.name, old.url, old.certificate_fingerprint) then
    perform dtma.touch('server', s.id, null, dtma.everybody(), s.revision, false)
      from public.account_tool_instances s where s.account_tool_environment_id = new.id;
    perform dtma.touch('connection', c.id, null, c.user_id, c.revision, false)
      from public.account_tool_instances s join public.agent_mcp_connections c on c.mcp_server_instance_id = s.id
      where s.account_tool_environment_id = new.id;
  end if;
  return null;
end
$$;

create or replace function dtma.feed_template() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('template', old.id, old.slug, dtma.everybody(), old.revision, true);
  else
    perform dtma.touch('template', new.id, new.slug, dtma.everybody(), new.revision, false);
  end if;
  return null;
end
$$;

-- A server's name and status stand in the rows of its connections too.
create or replace function dtma.feed_server() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('server', old.id, null, dtma.everybody(), old.revision, true);
    return null;
  end if;
  perform dtma.touch('server', new.id, null, dtma.everybody(), new.revision, false);
  if tg_op = 'UPDATE' and (new.status_on_toolbox, new.instance_name_on_toolbox, new.account_tool_environment_id)
      is distinct from (old.status_on_toolbox, old.instance_name_on_toolbox, old.account_tool_environment_id) then
    perform dtma.touch('connection', c.id, null, c.user_id, c.revision, false)
      from public.agent_mcp_connections c where c.mcp_server_instance_id = new.id;
  end if;
  return null;
end
$$;

create or replace function dtma.feed_agent() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('agent', old.id, null, old.user_id, old.revision, true);
  else
    perform dtma.touch('agent', new.id, null, new.user_id, new.revision, false);
  end if;
  return null;
end
$$;

create or replace function dtma.feed_connection() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform dtma.touch('connection', old.id, null, old.user_id, old.revision, true);
  else
    perform dtma.touch('connection', new.id, null, new.user_id, new.revision, false);
  end if;
  return null;
end
$$;

create or replace trigger feed after insert or delete or update of name, email, login_role on public.people
  for each row execute function dtma.feed_person();
create or replace trigger feed after insert or delete on public.user_roles
  for each row execute function dtma.feed_role();
create or replace trigger feed after insert or delete on public.account_tool_environments
  for each row execute function dtma.feed_toolbox();
create or replace trigger feed_update after update on public.account_tool_environments
  for each row when (old.revision is distinct from new.revision or old.status is distinct from new.status
    or old.dtma_last_known_version is distinct from new.dtma_last_known_version
    or old.dtma_health_details_json is distinct from new.dtma_health_details_json
    or old.provisioning_error_message is distinct from new.provisioning_error_message)
  execute function dtma.feed_toolbox();
create or replace trigger feed after insert or update or delete on public.tool_catalog
  for each row execute function dtma.feed_template();
create or replace trigger feed after insert or delete on public.account_tool_instances
  for each row execute function dtma.feed_server();
create or replace trigger feed_update after update on public.account_tool_instances
  for each row when (old.revision is distinct from new.revision
    or old.status_on_toolbox is distinct from new.status_on_toolbox
    or old.reported is distinct from new.reported or old.tools_hash is distinct from new.tools_hash)
  execute function dtma.feed_server();
create or replace trigger feed after insert or update or delete on public.agents
  for each row execute function dtma.feed_agent();
create or replace trigger feed after insert or update or delete on public.agent_mcp_connections
  for each row execute function dtma.feed_connection();

/*
Starts the feed anew: for a database restored from a dump, whose transaction ids begin again. Every control centre then
pulls everything once. For the owner of the schema.
*/
create or replace function dtma.rebuild_feed() returns void
language plpgsql set search_path = '' as $$
begin
  delete from dtma.sync_changes;
  update dtma.workspace set feed_id = gen_random_uuid();
  perform dtma.touch('person', p.id, null, p.id, p.revision, false) from public.people p;
  perform dtma.touch('toolbox', t.id, null, dtma.admins(), t.revision, false) from public.account_tool_environments t;
  perform dtma.touch('template', t.id, t.slug, dtma.everybody(), t.revision, false) from public.tool_catalog t;
  perform dtma.touch('server', s.id, null, dtma.everybody(), s.revision, false) from public.account_tool_instances s;
  perform dtma.touch('agent', a.id, null, a.user_id, a.revision, false) from public.agents a;
  perform dtma.touch('connection', c.id, null, c.user_id, c.revision, false) from public.agent_mcp_connections c;
end
$$;

create table if not exists public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor_id uuid,
  actor_kind text not null check (actor_kind in ('person', 'toolbox', 'owner')),
  session_role text not null default session_user,
  action text not null check (action in ('created', 'changed', 'deleted')),
  entity text not null,
  entity_id text not null,
  changes jsonb not null default '{}'
);
create index if not exists audit_log_actor on public.audit_log (actor_id, id);
alter table public.audit_log enable row level security;
revoke all on table public.audit_log from public, anon, authenticated;
grant select on public.audit_log to authenticated;
drop policy if exists "admins, and members what they did" on public.audit_log;
create policy "admins, and members what they did" on public.audit_log for select to authenticated
  using ((select dtma.is_admin()) or (actor_id = (select dtma.person_id()) and (select dtma.is_member())));

create or replace function dtma.refuse_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'FORBIDDEN: The audit log is only ever added to.' using errcode = '42501';
end
$$;
create or replace trigger append_only before update or delete or truncate on public.audit_log
  for each statement execute function dtma.refuse_change();

/* Arguments of the trigger: the entity, the column that names the row, then the columns that are worth a line. */
create or replace function dtma.audit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  person uuid := dtma.person_id();
  before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
  changed jsonb;
begin
  select jsonb_object_agg(c, case
      when c in ('token_hash', 'dtma_bearer_token') then to_jsonb('(secret)'::text)
      when c in ('spec', 'definition') then to_jsonb('(document)'::text)
      else jsonb_build_array(before -> c, after -> c) end) into changed
    from unnest(tg_argv[2:]) c
    where coalesce(before -> c, 'null') is distinct from coalesce(after -> c, 'null');
  if tg_op = 'UPDATE' and changed is null then
    return null;
  end if;
  insert into public.audit_log (actor_id, actor_kind, action, entity, entity_id, changes)
  values (
    person,
    case when person is not null then 'person'
      when current_setting('dtma.reporting', true) = 'yes' then 'toolbox' else 'owner' end,
    case tg_op when 'INSERT' then 'created' when 'UPDATE' then 'changed' else 'deleted' end,
    tg_argv[0], coalesce(after, before) ->> tg_argv[1], coalesce(changed, '{}'));
  return null;
end
$$;

create or replace trigger audit after insert or delete or update of name, email, login_role on public.people
  for each row execute function dtma.audit('person', 'id', 'name', 'email', 'login_role');
create or replace trigger audit after update on dtma.workspace
  for each row execute function dtma.audit('workspace', 'id', 'name', 'join_policy');
create or replace trigger audit after insert or update or delete on public.user_roles
  for each row execute function dtma.audit('role', 'user_id', 'role_id');
create or replace trigger audit after insert or delete or update of name, description, kind, url, certificate_fingerprint,
    do_droplet_id, public_ip_address, dtma_bearer_token on public.account_tool_environments
  for each row execute function dtma.audit('toolbox', 'id', 'name', 'description', 'kind', 'url',
    'certificate_fingerprint', 'do_droplet_id', 'public_ip_address', 'dtma_bearer_token');
create or replace trigger audit after insert or update or delete on public.tool_catalog
  for each row execute function dtma.audit('template', 'slug', 'definition', 'is_public', 'status');
create or replace trigger audit after insert or delete or update of instance_name_on_toolbox, account_tool_environment_id,
    template_slug, description, spec, desired_state on public.account_tool_instances
  for each row execute function dtma.audit('server', 'id', 'instance_name_on_toolbox', 'account_tool_environment_id',
    'template_slug', 'description', 'spec', 'desired_state');
create or replace trigger audit after insert or update or delete on public.agents
  for each row execute function dtma.audit('agent', 'id', 'user_id', 'name', 'description', 'active', 'metadata');
create or replace trigger audit after insert or update or delete on public.agent_mcp_connections
  for each row execute function dtma.audit('connection', 'id', 'agent_id', 'mcp_server_instance_id', 'connection_config',
    'is_active', 'token_hash');

revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261123000300', 'feed');
