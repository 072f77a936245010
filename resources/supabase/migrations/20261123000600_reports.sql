/*
What toolboxes say, and who is let in.

INVARIANTS
- report_toolbox is all that role anon and role dtma_toolbox can call. It believes a toolbox about its own servers and
  the connections to them, and about nothing else.
- An unknown toolbox, one without a token and a wrong token get the same answer, after the same work.
- The words of Docker become words of status_on_toolbox here and nowhere else in the database; a test holds the table
  against shared/model/status.ts.
- There is a first admin once; the last admin stays.
*/

-- The stored word for what was seen. A word of Docker's nobody knows leaves the stored word as it is.
create or replace function dtma.reported_status(
  p_current text, p_desired text, p_reported_desired text, p_container text, p_health text) returns text
language sql immutable
return case
  when p_desired = 'deleted' then 'deleting'
  when p_container = 'running' and p_desired = 'stopped' then 'stopping'
  when p_container = 'running' and p_health = 'failed' then 'error'
  when p_container = 'running' and p_health = 'ready' then 'running'
  when p_container = 'running' then 'starting'
  when p_container in ('created', 'exited') and p_desired = 'stopped' then 'stopped'
  when p_container in ('created', 'exited') and p_reported_desired = 'stopped' then 'starting'
  when p_container in ('created', 'exited', 'dead') then 'error'
  when p_container = 'paused' then 'stopped'
  when p_container = 'restarting' then 'starting'
  when p_container = 'removing' then 'deleting'
  else p_current end;

-- Equal in a time that says nothing about where two hashes differ: what is compared is hashed with a fresh number.
create or replace function dtma.is_same_secret(p_stored text, p_given text) returns boolean
language plpgsql volatile set search_path = '' as $$
declare
  nonce text := gen_random_uuid()::text;
begin
  return sha256(convert_to(nonce || coalesce(p_stored, repeat('-', 64)), 'UTF8'))
    = sha256(convert_to(nonce || encode(sha256(convert_to(coalesce(p_given, ''), 'UTF8')), 'hex'), 'UTF8'));
end
$$;

create or replace function dtma.store_servers(p_toolbox uuid, p_servers jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  insert into dtma.toolsets (hash, items)
  select distinct encode(sha256(convert_to(e.tools::text, 'UTF8')), 'hex'), e.tools
  from jsonb_to_recordset(p_servers) as e ("serverId" uuid, tools jsonb)
  where jsonb_typeof(e.tools) = 'array'
  on conflict do nothing;

  with seen as (
    select s.id, e.*,
      jsonb_build_object('state', 'present', 'desired', e.desired, 'container', e.container, 'image', e.image,
        'health', e.health - 'checkedAt') as state,
      dtma.reported_status(s.status_on_toolbox, s.desired_state, e.desired, e.container ->> 'state', e.health ->> 'state') as word,
      s.reported, s.status_on_toolbox
    from jsonb_to_recordset(p_servers) as e ("serverId" uuid, desired text, container jsonb, image jsonb, health jsonb,
      "toolsTag" text, tools jsonb)
    join public.account_tool_instances s on s.id = e."serverId" and s.account_tool_environment_id = p_toolbox
  )
  update public.account_tool_instances s set
    reported = case when s.reported - 'changedAt' is distinct from seen.state
      then seen.state || jsonb_build_object('changedAt', dtma.ms(now())) else s.reported end,
    status_on_toolbox = seen.word,
    instance_error_message = left(seen.health #>> '{error,message}', 2000),
    last_heartbeat_from_dtma = now(),
    last_running_at = case when seen.word = 'running' then now() else s.last_running_at end,
    tools_tag = case when jsonb_typeof(seen.tools) = 'array' then seen."toolsTag" else s.tools_tag end,
    tools_hash = case when jsonb_typeof(seen.tools) = 'array'
      then encode(sha256(convert_to(seen.tools::text, 'UTF8')), 'hex') else s.tools_hash end,
    tools_count = case when jsonb_typeof(seen.tools) = 'array' then jsonb_array_length(seen.tools) else s.tools_count end,
    tools_at = case when jsonb_typeof(seen.tools) = 'array' then now() else s.tools_at end
  from seen where s.id = seen.id and (s.reported - 'changedAt' is distinct from seen.state
    or s.status_on_toolbox <> seen.word or jsonb_typeof(seen.tools) = 'array');

  insert into dtma.server_reports as r (server_id, at, sessions, load)
  select s.id, now(), coalesce(e.sessions, 0), nullif(e.load, 'null')
  from jsonb_to_recordset(p_servers) as e ("serverId" uuid, sessions integer, load jsonb)
  join public.account_tool_instances s on s.id = e."serverId" and s.account_tool_environment_id = p_toolbox
  on conflict (server_id) do update set at = excluded.at, sessions = excluded.sessions, load = excluded.load;

  delete from public.account_tool_instances s
  where s.account_tool_environment_id = p_toolbox and s.desired_state = 'deleted'
    and not exists (select from jsonb_array_elements(p_servers) e where e ->> 'serverId' = s.id::text);

  update public.account_tool_instances s set status_on_toolbox = 'uninstalled', last_heartbeat_from_dtma = now(),
    reported = jsonb_build_object('state', 'gone', 'changedAt', dtma.ms(now()))
  where s.account_tool_environment_id = p_toolbox and s.reported ->> 'state' = 'present'
    and not exists (select from jsonb_array_elements(p_servers) e where e ->> 'serverId' = s.id::text);
end
$$;

-- Counts of a DTMA begin at zero with each of its starts; totals go on. A repeated report adds nothing.
create or replace function dtma.store_usage(p_toolbox uuid, p_boot text, p_usage jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  due record;
begin
  insert into dtma.connection_usage as u
    (connection_id, boot_id, boot_calls, boot_errors, calls, errors, last_used_at)
  select distinct on (c.id) c.id, p_boot, greatest(e.calls, 0), greatest(e.errors, 0), greatest(e.calls, 0),
    greatest(e.errors, 0), least(to_timestamp(e."lastUsedAt" / 1000.0), now())
  from jsonb_to_recordset(p_usage) as e ("connectionId" uuid, calls bigint, errors bigint, "lastUsedAt" bigint)
  join public.agent_mcp_connections c on c.id = e."connectionId"
  join public.account_tool_instances s on s.id = c.mcp_server_instance_id and s.account_tool_environment_id = p_toolbox
  order by c.id, e.calls desc
  on conflict (connection_id) do update set
    boot_id = excluded.boot_id, boot_calls = excluded.boot_calls, boot_errors = excluded.boot_errors,
    calls = u.calls + case when u.boot_id = excluded.boot_id
      then greatest(excluded.boot_calls - u.boot_calls, 0) else excluded.boot_calls end,
    errors = u.errors + case when u.boot_id = excluded.boot_id
      then greatest(excluded.boot_errors - u.boot_errors, 0) else excluded.boot_errors end,
    last_used_at = greatest(u.last_used_at, excluded.last_used_at);

  for due in
    update dtma.connection_usage u set published_calls = u.calls, published_errors = u.errors, published_at = now()
    from public.agent_mcp_connections c
    join public.account_tool_instances s on s.id = c.mcp_server_instance_id
    where c.id = u.connection_id and s.account_tool_environment_id = p_toolbox
      and (u.calls, u.errors) is distinct from (u.published_calls, u.published_errors)
      and (u.published_at is null or u.published_at < now() - interval '1 minute')
    returning c.id, c.user_id, c.revision
  loop
    perform dtma.touch('connection', due.id, null, due.user_id, due.revision, false);
  end loop;
end
$$;

create or replace function dtma.access_list(p_toolbox uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('connectionId', c.id, 'server', s.instance_name_on_toolbox,
    'tokenHash', c.token_hash, 'allowedTools', c.connection_config -> 'allowedTools') order by c.id), '[]')
  from public.account_tool_instances s
  join public.agent_mcp_connections c on c.mcp_server_instance_id = s.id
  join public.agents a on a.id = c.agent_id
  where s.account_tool_environment_id = p_toolbox and s.desired_state <> 'deleted'
    and c.is_active and c.token_hash is not null and a.active
    and exists (select from public.user_roles ur where ur.user_id = c.user_id)
$$;

create or replace function dtma.desired_list(p_toolbox uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('serverId', s.id, 'name', s.instance_name_on_toolbox,
    'desired', s.desired_state, 'spec', s.spec, 'revision', s.revision) order by s.id), '[]')
  from public.account_tool_instances s
  where s.account_tool_environment_id = p_toolbox and s.mcp_server_type = 'mcp_server'
$$;

create or replace function public.report_toolbox(p_toolbox uuid, p_token text, p_report jsonb) returns jsonb
language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  t public.account_tool_environments;
  access_list jsonb;
  desired_list jsonb;
  access_hash text;
  desired_hash text;
begin
  select * into t from public.account_tool_environments e where e.id = p_toolbox;
  if not dtma.is_same_secret(t.dtma_bearer_token, p_token) then
    perform dtma.refuse('REPORT_REFUSED', 'The report was refused.');
  end if;
  p_report := dtma.argument(p_report);
  if jsonb_typeof(p_report) is distinct from 'object' or (p_report ->> 'protocol') is distinct from '1'
      or coalesce(jsonb_typeof(p_report -> 'servers'), 'null') not in ('array', 'null')
      or coalesce(jsonb_typeof(p_report -> 'usage'), 'null') not in ('array', 'null')
      or octet_length(p_report::text) > 16777216 then
    perform dtma.refuse('INVALID_INPUT', 'This is no report of version 1.');
  end if;
  perform set_config('dtma.reporting', 'yes', true);

  -- One report of a toolbox at a time.
  select * into t from public.account_tool_environments e where e.id = p_toolbox for no key update;
  update public.account_tool_environments e set
    last_heartbeat_at = clock_timestamp(),
    dtma_last_known_version = left(p_report ->> 'dtmaVersion', 100),
    dtma_health_details_json = jsonb_strip_nulls(jsonb_build_object('docker', p_report -> 'docker',
      'hostname', p_report -> 'hostname', 'platform', p_report -> 'platform', 'hardeningGaps', p_report -> 'hardeningGaps')),
    status = case when e.status in ('awaiting_heartbeat', 'unresponsive', 'inactive', 'pending_creation', 'creating',
      'pending_provision', 'provisioning') then 'active' else e.status end
  where e.id = p_toolbox;
  insert into dtma.toolbox_reports as r (toolbox_id, at, load)
  values (p_toolbox, now(), nullif(p_report -> 'host', 'null'))
  on conflict (toolbox_id) do update set at = excluded.at, load = excluded.load;
  if jsonb_typeof(p_report -> 'servers') = 'array' then
    perform dtma.store_servers(p_toolbox, p_report -> 'servers');
  end if;
  if jsonb_typeof(p_report -> 'usage') = 'array' then
    perform dtma.store_usage(p_toolbox, coalesce(left(p_report ->> 'bootId', 64), ''), p_report -> 'usage');
  end if;
  perform set_config('dtma.reporting', '', true);

  access_list := dtma.access_list(p_toolbox);
  desired_list := dtma.desired_list(p_toolbox);
  access_hash := encode(sha256(convert_to(access_list::text, 'UTF8')), 'hex');
  desired_hash := encode(sha256(convert_to(desired_list::text, 'UTF8')), 'hex');
  return jsonb_build_object(
    'now', dtma.ms(clock_timestamp()),
    'access', case when p_report #>> '{have,accessHash}' is distinct from access_hash then access_list end,
    'accessHash', access_hash,
    'desired', case when p_report #>> '{have,desiredHash}' is distinct from desired_hash then desired_list end,
    'desiredHash', desired_hash,
    'wantTools', coalesce((
      select jsonb_agg(s.id) from jsonb_to_recordset(case jsonb_typeof(p_report -> 'servers')
          when 'array' then p_report -> 'servers' else '[]' end) as e ("serverId" uuid, "toolsTag" text)
      join public.account_tool_instances s on s.id = e."serverId" and s.account_tool_environment_id = p_toolbox
      where e."toolsTag" is not null and e."toolsTag" is distinct from s.tools_tag), '[]'),
    'nextReportInMs', dtma.report_interval_ms());
end
$$;

create or replace function dtma.grant_role(p_person uuid, p_role text) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.user_roles (user_id, role_id) select p_person, r.id from public.roles r where r.name = p_role
  on conflict do nothing;
end
$$;

-- Makes sure that the person is there: an account of Supabase, or a login role, which is created when a verifier is given.
create or replace function dtma.ensure_person(p jsonb) returns uuid
language plpgsql set search_path = '' as $$
declare
  person uuid := (p ->> 'userId')::uuid;
  login text := p ->> 'loginRole';
  name text := btrim(p ->> 'name');
begin
  if jsonb_typeof(p) is distinct from 'object' or coalesce(length(name), 0) not between 1 and 80 then
    perform dtma.refuse('INVALID_INPUT', 'A person has a name.');
  end if;
  if dtma.people_are_login_roles() then
    if login is null or login !~ '^[a-z_][a-z0-9_]{0,62}$' then
      perform dtma.refuse('INVALID_INPUT', 'On plain Postgres a person is a login role.');
    end if;
    if pg_catalog.to_regrole(quote_ident(login)) is null then
      if (p ->> 'passwordVerifier') !~ '^SCRAM-SHA-256\$\d{1,7}:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+$' is not false then
        perform dtma.refuse('INVALID_INPUT', 'There is no such login role; it can be made with a SCRAM-SHA-256 verifier.');
      end if;
      execute format('create role %I login password %L', login, p ->> 'passwordVerifier');
    end if;
    if not pg_catalog.pg_has_role(login, 'authenticated', 'member') then
      execute format('grant authenticated to %I', login);
    end if;
    insert into public.people as e (id, name, email, login_role)
    values (coalesce(person, gen_random_uuid()), name, p ->> 'email', login)
    on conflict (login_role) do update set name = excluded.name returning e.id into person;
    return person;
  end if;
  if login is not null then
    perform dtma.refuse('INVALID_INPUT', 'On Supabase a person is an account, not a login role.');
  end if;
  if person is null and p ->> 'email' is not null then
    execute 'select u.id from auth.users u where lower(u.email::text) = lower($1)' into person using p ->> 'email';
    if person is null then
      perform dtma.refuse('NOT_FOUND', 'There is no account with this email address; the person signs up first.');
    end if;
  end if;
  if person is null then
    perform dtma.refuse('INVALID_INPUT', 'On Supabase a person is named by userId or email.');
  end if;
  insert into public.people as e (id, name, email) values (person, name, p ->> 'email')
  on conflict (id) do update set name = excluded.name;
  return person;
end
$$;

create or replace function public.add_person(p_person jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  person uuid;
begin
  perform dtma.must_be_admin();
  p_person := dtma.argument(p_person);
  if exists (select from jsonb_array_elements_text(coalesce(p_person -> 'roles', '["user"]')) r
      where r not in ('admin', 'user')) then
    perform dtma.refuse('INVALID_INPUT', 'A role is admin or user.');
  end if;
  person := dtma.ensure_person(p_person);
  perform dtma.grant_role(person, r) from jsonb_array_elements_text(coalesce(p_person -> 'roles', '["user"]')) r;
  return (select dtma.person_json(p) from public.people p where p.id = person);
end
$$;

create or replace function public.set_role(p_person uuid, p_role text, p_granted boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform dtma.must_be_admin();
  if p_role is null or p_role not in ('admin', 'user') or p_granted is null then
    perform dtma.refuse('INVALID_INPUT', 'A role is admin or user, and is granted or not.');
  elsif not exists (select from public.people p where p.id = p_person) then
    perform dtma.refuse('NOT_FOUND', 'There is no such person.');
  end if;
  lock table public.user_roles in share row exclusive mode;
  if p_granted then
    perform dtma.grant_role(p_person, p_role);
  else
    if p_role = 'admin' and not exists (
        select from public.user_roles ur join public.roles r on r.id = ur.role_id
        where r.name = 'admin' and ur.user_id <> p_person) then
      perform dtma.refuse('LAST_ADMIN', 'The last admin stays; make somebody else an admin first.');
    end if;
    delete from public.user_roles ur using public.roles r
    where r.id = ur.role_id and r.name = p_role and ur.user_id = p_person;
  end if;
  return (select dtma.person_json(p) from public.people p where p.id = p_person);
end
$$;

create or replace function public.set_workspace(p_settings jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  person uuid := dtma.must_be_admin();
begin
  p_settings := dtma.argument(p_settings);
  if jsonb_typeof(p_settings) is distinct from 'object' then
    perform dtma.refuse('INVALID_INPUT', 'Settings are an object.');
  end if;
  update dtma.workspace w set name = coalesce(btrim(p_settings ->> 'name'), w.name),
    join_policy = coalesce(p_settings ->> 'joinPolicy', w.join_policy);
  return dtma.who(person);
exception when check_violation then
  perform dtma.refuse('INVALID_INPUT', 'A setting has a value that is not allowed.');
end
$$;

-- For the owner of the schema, who is the only one that may call it, and only while there is no admin.
create or replace function public.make_first_admin(p_person jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  person uuid;
begin
  lock table public.user_roles in share row exclusive mode;
  if exists (select from public.user_roles ur join public.roles r on r.id = ur.role_id where r.name = 'admin') then
    perform dtma.refuse('FIRST_ADMIN_EXISTS', 'There is an admin already, who can make others.');
  end if;
  person := dtma.ensure_person(p_person);
  perform dtma.grant_role(person, 'admin');
  perform dtma.grant_role(person, 'user');
  return (select dtma.person_json(p) from public.people p where p.id = person);
end
$$;

revoke execute on function public.report_toolbox(uuid, text, jsonb), public.add_person(jsonb),
  public.set_role(uuid, text, boolean), public.set_workspace(jsonb), public.make_first_admin(jsonb)
  from public, anon, authenticated, service_role, dtma_toolbox;
grant execute on function public.report_toolbox(uuid, text, jsonb) to anon, authenticated, dtma_toolbox;
grant execute on function public.add_person(jsonb), public.set_role(uuid, text, boolean), public.set_workspace(jsonb)
  to authenticated;
revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261123000600', 'reports');

-- PostgREST learns of new functions when it is told.
notify pgrst, 'reload schema';
