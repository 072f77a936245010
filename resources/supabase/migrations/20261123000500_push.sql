/*
Writing: everything people change goes through sync_push, and the rules of who may do what stand here.

INVARIANTS
- A mutation is applied once: its id is remembered in the transaction that applies it.
- Each mutation has a subtransaction of its own: one that fails changes nothing, and stops none of the others.
- Failures that another attempt can cure (deadlock, serialization, shutdown) fail the whole call and are not remembered.
- Rows a person may not see are "not found" for them, whatever they try.
- A member changed by somebody else since baseRevision is never overwritten with another value.
- A revocation always wins.
*/

create table if not exists dtma.sync_mutations (
  id uuid primary key,
  person_id uuid not null,
  digest bytea not null,
  entity text not null,
  entity_id uuid,
  status text not null check (status in ('applied', 'conflict', 'rejected')),
  revision bigint,
  code text,
  message text,
  at timestamptz not null default now()
);
alter table dtma.sync_mutations enable row level security;

do $$
begin
  if to_regtype('dtma.outcome') is null then
    create type dtma.outcome as (status text, entity_id uuid, revision bigint, code text, message text);
  end if;
end
$$;

create or replace function dtma.applied(p_id uuid, p_revision bigint) returns dtma.outcome
language sql immutable return row('applied', p_id, p_revision, null, null)::dtma.outcome;

create or replace function dtma.conflict(p_id uuid, p_revision bigint, p_code text, p_message text) returns dtma.outcome
language sql immutable return row('conflict', p_id, p_revision, p_code, p_message)::dtma.outcome;

create or replace function dtma.rejected(p_code text, p_message text) returns dtma.outcome
language sql immutable return row('rejected', null, null, p_code, p_message)::dtma.outcome;

create or replace function dtma.not_found(p_what text) returns dtma.outcome
language sql immutable return dtma.rejected('NOT_FOUND', p_what || ' does not exist any more.');

/*
Whether a patch may be applied to a row: `same` when it changes nothing, `exists` when it was meant to create the row,
`stale` when somebody else changed one of its members to another value since p_base, else `apply`.
*/
create or replace function dtma.compare(
  p_row jsonb, p_patch jsonb, p_edits jsonb, p_revision bigint, p_base bigint) returns text
language plpgsql immutable set search_path = '' as $$
declare
  differs boolean := false;
  member record;
begin
  for member in select key, value from jsonb_each(p_patch) loop
    if coalesce(p_row -> member.key, 'null') is distinct from member.value then
      differs := true;
      if p_base is null then
        return 'exists';
      end if;
      if p_base <> p_revision and (p_base > p_revision or coalesce((p_edits ->> member.key)::bigint, 1) > p_base) then
        return 'stale';
      end if;
    end if;
  end loop;
  return case when differs then 'apply' else 'same' end;
end
$$;

create or replace function dtma.conflict_of(p_verdict text, p_id uuid, p_revision bigint) returns dtma.outcome
language sql immutable
return dtma.conflict(p_id, p_revision, case p_verdict when 'exists' then 'EXISTS' else 'STALE' end,
  case p_verdict when 'exists' then 'It exists already.' else 'Somebody else changed it in the meantime.' end);

-- For a row that is not there: may it be created under this id, or was it deleted?
create or replace function dtma.was_deleted(p_entity text, p_id uuid, p_base bigint) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return p_base is not null or exists (
    select from dtma.sync_changes c where c.entity = p_entity and c.id = p_id and c.is_deleted);
end
$$;

-- Members of the payload under the names of their columns.
create or replace function dtma.renamed(p_payload jsonb, p_names jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return (
    select coalesce(jsonb_object_agg(n.value, p_payload -> n.key), '{}')
    from jsonb_each_text(p_names) n where p_payload ? n.key);
end
$$;

create or replace function dtma.put_agent(p_person uuid, p_admin boolean, p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  a public.agents;
  patch jsonb;
  verdict text;
begin
  select * into a from public.agents where id = p_id for no key update;
  if not found then
    if dtma.was_deleted('agent', p_id, p_base) then
      return dtma.conflict(p_id, null, 'DELETED', 'The agent was deleted in the meantime.');
    end if;
    insert into public.agents (id, user_id, name, description, active, metadata)
    values (p_id, p_person, btrim(p ->> 'name'), coalesce(p ->> 'description', ''), coalesce((p ->> 'isActive')::boolean, true),
      coalesce(p -> 'metadata', '{}'));
    return dtma.applied(p_id, 1);
  end if;
  if a.user_id <> p_person and not p_admin then
    return dtma.not_found('The agent');
  end if;
  patch := dtma.renamed(p, '{"name": "name", "description": "description", "isActive": "active", "metadata": "metadata"}');
  verdict := dtma.compare(to_jsonb(a), patch, a.edits, a.revision, p_base);
  if verdict = 'same' then
    return dtma.applied(p_id, a.revision);
  elsif verdict <> 'apply' then
    return dtma.conflict_of(verdict, p_id, a.revision);
  end if;
  update public.agents set
    name = case when p ? 'name' then btrim(p ->> 'name') else a.name end,
    description = case when p ? 'description' then p ->> 'description' else a.description end,
    active = case when p ? 'isActive' then (p ->> 'isActive')::boolean else a.active end,
    metadata = case when p ? 'metadata' then p -> 'metadata' else a.metadata end
  where id = p_id returning revision into a.revision;
  return dtma.applied(p_id, a.revision);
end
$$;

create or replace function dtma.delete_agent(p_person uuid, p_admin boolean, p_id uuid, p_base bigint) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  a public.agents;
begin
  select * into a from public.agents where id = p_id for update;
  if not found then
    return dtma.applied(p_id, null);
  elsif a.user_id <> p_person and not p_admin then
    return dtma.not_found('The agent');
  elsif p_base <> a.revision then
    return dtma.conflict_of('stale', p_id, a.revision);
  end if;
  delete from public.agents where id = p_id;
  return dtma.applied(p_id, null);
end
$$;

create or replace function dtma.put_connection(
  p_person uuid, p_admin boolean, p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  c public.agent_mcp_connections;
  owner uuid;
  s record;
  patch jsonb;
  other record;
  verdict text;
  config jsonb := case when p ? 'allowedTools' then jsonb_build_object('allowedTools', p -> 'allowedTools') end;
begin
  if config is not null and not dtma.is_tool_list(p -> 'allowedTools') then
    return dtma.rejected('INVALID_INPUT', 'allowedTools is null, or a list of at most 2000 names.');
  end if;
  select * into c from public.agent_mcp_connections where id = p_id for no key update;
  if found then
    if c.user_id <> p_person and not p_admin then
      return dtma.not_found('The connection');
    elsif c.agent_id::text <> p ->> 'agentId' or c.mcp_server_instance_id::text <> p ->> 'serverId' then
      return dtma.rejected('INVALID_INPUT', 'A connection keeps its agent and its server.');
    end if;
    patch := dtma.renamed(p, '{"tokenHash": "token_hash"}')
      || case when config is null then '{}' else jsonb_build_object('connection_config', config) end;
    verdict := dtma.compare(to_jsonb(c), patch, c.edits, c.revision, p_base);
    if verdict = 'same' then
      return dtma.applied(p_id, c.revision);
    elsif verdict <> 'apply' then
      return dtma.conflict_of(verdict, p_id, c.revision);
    end if;
    update public.agent_mcp_connections set
      connection_config = coalesce(config, c.connection_config),
      token_hash = coalesce(p ->> 'tokenHash', c.token_hash)
    where id = p_id returning revision into c.revision;
    return dtma.applied(p_id, c.revision);
  end if;
  if dtma.was_deleted('connection', p_id, p_base) then
    return dtma.conflict(p_id, null, 'DELETED', 'The connection was removed in the meantime.');
  end if;
  select a.user_id into owner from public.agents a where a.id = (p ->> 'agentId')::uuid;
  if owner is null or (owner <> p_person and not p_admin) then
    return dtma.not_found('The agent');
  end if;
  select i.mcp_server_type, i.desired_state, i.last_running_at, dtma.may_be_seen(i) as is_running into s
    from public.account_tool_instances i where i.id = (p ->> 'serverId')::uuid;
  -- A link made offline to a server that ran then is still meant when it arrives.
  if s is null or s.mcp_server_type <> 'mcp_server' or s.desired_state = 'deleted'
      or not (s.is_running or s.last_running_at is not null or p_admin) then
    return dtma.rejected('SERVER_NOT_AVAILABLE', 'The server is not running, or does not exist any more.');
  end if;
  if p ->> 'tokenHash' is null then
    return dtma.rejected('INVALID_INPUT', 'A new connection needs tokenHash.');
  end if;
  select o.id, o.revision into other from public.agent_mcp_connections o
    where o.agent_id = (p ->> 'agentId')::uuid and o.mcp_server_instance_id = (p ->> 'serverId')::uuid;
  if found then
    return dtma.conflict(other.id, other.revision, 'ALREADY_CONNECTED', 'The agent is connected to this server already.');
  end if;
  insert into public.agent_mcp_connections (id, agent_id, mcp_server_instance_id, user_id, connection_config, token_hash)
  values (p_id, (p ->> 'agentId')::uuid, (p ->> 'serverId')::uuid, owner,
    coalesce(config, '{"allowedTools": null}'), p ->> 'tokenHash');
  return dtma.applied(p_id, 1);
end
$$;

create or replace function dtma.is_tool_list(p jsonb) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  if jsonb_typeof(p) <> 'array' then
    return jsonb_typeof(p) = 'null';
  end if;
  return jsonb_array_length(p) <= 2000 and not exists (
    select from jsonb_array_elements(p) e where jsonb_typeof(e) <> 'string' or length(e #>> '{}') not between 1 and 256);
end
$$;

create or replace function dtma.delete_connection(p_person uuid, p_admin boolean, p_id uuid) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  owner uuid;
begin
  select c.user_id into owner from public.agent_mcp_connections c where c.id = p_id for update;
  if found and owner <> p_person and not p_admin then
    return dtma.not_found('The connection');
  end if;
  delete from public.agent_mcp_connections where id = p_id;
  return dtma.applied(p_id, null);
end
$$;

create or replace function dtma.put_toolbox(p_person uuid, p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  t public.account_tool_environments;
  patch jsonb := dtma.renamed(p, '{"name": "name", "kind": "kind", "description": "description", "url": "url",
    "fingerprint": "certificate_fingerprint", "tokenHash": "dtma_bearer_token", "status": "status"}');
  wanted public.account_tool_environments;
  verdict text;
begin
  if p ? 'droplet' then
    patch := patch || jsonb_build_object('do_droplet_id', (p #>> '{droplet,id}')::bigint,
      'do_droplet_name', p #> '{droplet,name}', 'public_ip_address', host((p #>> '{droplet,address}')::inet),
      'region_slug', p #> '{droplet,region}', 'size_slug', p #> '{droplet,size}', 'image_slug', p #> '{droplet,image}');
  end if;
  select * into t from public.account_tool_environments where id = p_id for no key update;
  if not found then
    if dtma.was_deleted('toolbox', p_id, p_base) then
      return dtma.conflict(p_id, null, 'DELETED', 'The toolbox was removed in the meantime.');
    end if;
    wanted := jsonb_populate_record(null::public.account_tool_environments, patch);
    insert into public.account_tool_environments (id, user_id, name, kind, description, url, certificate_fingerprint,
      dtma_bearer_token, do_droplet_id, do_droplet_name, public_ip_address, region_slug, size_slug, image_slug, status)
    values (p_id, p_person, btrim(wanted.name), coalesce(wanted.kind, 'host'), coalesce(wanted.description, ''), wanted.url,
      wanted.certificate_fingerprint, wanted.dtma_bearer_token, wanted.do_droplet_id, wanted.do_droplet_name,
      wanted.public_ip_address, wanted.region_slug, wanted.size_slug, wanted.image_slug,
      coalesce(wanted.status, 'awaiting_heartbeat'));
    return dtma.applied(p_id, 1);
  end if;
  verdict := dtma.compare(to_jsonb(t), patch, t.edits, t.revision, p_base);
  if verdict = 'same' then
    return dtma.applied(p_id, t.revision);
  elsif verdict <> 'apply' then
    return dtma.conflict_of(verdict, p_id, t.revision);
  end if;
  wanted := jsonb_populate_record(t, patch);
  update public.account_tool_environments set name = btrim(wanted.name), kind = wanted.kind,
    description = wanted.description, url = wanted.url, certificate_fingerprint = wanted.certificate_fingerprint,
    dtma_bearer_token = wanted.dtma_bearer_token, do_droplet_id = wanted.do_droplet_id,
    do_droplet_name = wanted.do_droplet_name, public_ip_address = wanted.public_ip_address,
    region_slug = wanted.region_slug, size_slug = wanted.size_slug, image_slug = wanted.image_slug, status = wanted.status
  where id = p_id returning revision into t.revision;
  return dtma.applied(p_id, t.revision);
end
$$;

create or replace function dtma.delete_toolbox(p_id uuid, p_base bigint) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  current bigint;
begin
  select t.revision into current from public.account_tool_environments t where t.id = p_id for update;
  if not found then
    return dtma.applied(p_id, null);
  elsif p_base <> current then
    return dtma.conflict_of('stale', p_id, current);
  end if;
  delete from public.account_tool_environments where id = p_id;
  return dtma.applied(p_id, null);
end
$$;

-- What a spec says, in the columns that were there before specs.
create or replace function dtma.transport_of(p_spec jsonb) returns text
language sql immutable return case p_spec #>> '{transport,type}' when 'http' then 'streamable_http' else 'stdio' end;
create or replace function dtma.version_of(p_spec jsonb) returns text
language sql immutable
return left(case p_spec #>> '{source,type}' when 'npm' then p_spec #>> '{source,version}' else p_spec #>> '{source,image}' end, 512);

create or replace function dtma.put_server(p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  s public.account_tool_instances;
  template uuid := (select c.id from public.tool_catalog c where c.slug = p ->> 'templateId');
  document jsonb := p -> 'spec';
  patch jsonb;
  verdict text;
begin
  if p ->> 'desired' not in ('running', 'stopped') then
    return dtma.rejected('INVALID_INPUT', 'desired is running or stopped.');
  elsif document is not null and (jsonb_typeof(document) <> 'object' or jsonb_typeof(document -> 'name') is distinct from 'string') then
    return dtma.rejected('INVALID_INPUT', 'spec is a document with a name.');
  end if;
  select * into s from public.account_tool_instances where id = p_id for no key update;
  if not found then
    if dtma.was_deleted('server', p_id, p_base) then
      return dtma.conflict(p_id, null, 'DELETED', 'The server was deleted in the meantime.');
    elsif not exists (select from public.account_tool_environments t where t.id = (p ->> 'toolboxId')::uuid) then
      return dtma.not_found('The toolbox');
    end if;
    insert into public.account_tool_instances (id, account_tool_environment_id, tool_catalog_id, template_slug,
      instance_name_on_toolbox, description, spec, desired_state, mcp_transport_type, version, mcp_endpoint_path)
    values (p_id, (p ->> 'toolboxId')::uuid, template, p ->> 'templateId', document ->> 'name', coalesce(p ->> 'description', ''),
      document, coalesce(p ->> 'desired', 'running'), dtma.transport_of(document), dtma.version_of(document),
      document #>> '{transport,path}');
    return dtma.applied(p_id, 1);
  end if;
  if s.account_tool_environment_id::text <> p ->> 'toolboxId' then
    return dtma.rejected('INVALID_INPUT', 'A server stays on its toolbox.');
  end if;
  patch := dtma.renamed(p, '{"templateId": "template_slug", "description": "description", "spec": "spec",
    "desired": "desired_state"}');
  verdict := dtma.compare(to_jsonb(s), patch, s.edits, s.revision, p_base);
  if verdict = 'same' then
    return dtma.applied(p_id, s.revision);
  elsif verdict <> 'apply' then
    return dtma.conflict_of(verdict, p_id, s.revision);
  end if;
  document := coalesce(document, s.spec);
  update public.account_tool_instances set
    template_slug = case when p ? 'templateId' then p ->> 'templateId' else s.template_slug end,
    tool_catalog_id = case when p ? 'templateId' then template else s.tool_catalog_id end,
    description = coalesce(p ->> 'description', s.description),
    spec = document,
    instance_name_on_toolbox = coalesce(document ->> 'name', s.instance_name_on_toolbox),
    mcp_transport_type = case when p ? 'spec' then dtma.transport_of(document) else s.mcp_transport_type end,
    mcp_endpoint_path = case when p ? 'spec' then document #>> '{transport,path}' else s.mcp_endpoint_path end,
    version = case when p ? 'spec' then dtma.version_of(document) else s.version end,
    desired_state = coalesce(p ->> 'desired', s.desired_state),
    status_on_toolbox = dtma.expected_status(s.status_on_toolbox, s.reported, coalesce(p ->> 'desired', s.desired_state))
  where id = p_id returning revision into s.revision;
  return dtma.applied(p_id, s.revision);
end
$$;

-- The word for a server whose wish has just changed, until its toolbox has reported.
create or replace function dtma.expected_status(p_current text, p_reported jsonb, p_desired text) returns text
language sql immutable
return case
  when p_desired = 'deleted' then case when p_reported ->> 'state' = 'present' then 'deleting' else 'pending_delete' end
  when p_desired = 'stopped' and p_current in ('running', 'active', 'starting') then 'stopping'
  when p_desired = 'running' and p_current in ('stopped', 'stopping') then 'starting'
  when p_desired = 'running' and p_current in ('pending_delete', 'deleting') then
    case when p_reported ->> 'state' = 'present' then 'starting' else 'pending_deploy' end
  else p_current end;

create or replace function dtma.delete_server(p_id uuid, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  s public.account_tool_instances;
  has_reported boolean;
begin
  select * into s from public.account_tool_instances where id = p_id for update;
  if not found then
    return dtma.applied(p_id, null);
  elsif p_base <> s.revision then
    return dtma.conflict_of('stale', p_id, s.revision);
  end if;
  select t.last_heartbeat_at is not null into has_reported
    from public.account_tool_environments t where t.id = s.account_tool_environment_id;
  if not has_reported or (p ->> 'force')::boolean then
    delete from public.account_tool_instances where id = p_id;
    return dtma.applied(p_id, null);
  end if;
  update public.account_tool_instances set desired_state = 'deleted',
    status_on_toolbox = dtma.expected_status(s.status_on_toolbox, s.reported, 'deleted')
  where id = p_id returning revision into s.revision;
  return dtma.applied(p_id, s.revision);
end
$$;

create or replace function dtma.put_template(p_slug text, p_base bigint, p jsonb) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  t public.tool_catalog;
  d jsonb := p -> 'definition';
  verdict text;
begin
  if d is not null and (jsonb_typeof(d) <> 'object' or d ->> 'id' is distinct from p_slug or coalesce(d ->> 'title', '') = '') then
    return dtma.rejected('INVALID_INPUT', 'definition is a template with this id and a title.');
  end if;
  select * into t from public.tool_catalog where slug = p_slug for no key update;
  if not found then
    if p_base is not null then
      return dtma.conflict(null, null, 'DELETED', 'The template was deleted in the meantime.');
    end if;
    t.slug := p_slug;
    t.status := 'available';
    t.is_public := true;
  else
    verdict := dtma.compare(to_jsonb(t), dtma.renamed(p,
      '{"definition": "definition", "isPublic": "is_public", "status": "status"}'), t.edits, t.revision, p_base);
    if verdict = 'same' then
      return dtma.applied(t.id, t.revision);
    elsif verdict <> 'apply' then
      return dtma.conflict_of(verdict, t.id, t.revision);
    end if;
  end if;
  d := coalesce(d, t.definition);
  insert into public.tool_catalog as c (slug, tool_name, name, description, categories, documentation_url,
    package_identifier, docker_image_url, version, required_secrets_schema, required_config_schema,
    required_capabilities_schema, status, is_public, definition)
  values (p_slug, p_slug, left(d ->> 'title', 200), coalesce(d ->> 'description', ''),
    array(select jsonb_array_elements_text(case jsonb_typeof(d -> 'categories') when 'array' then d -> 'categories' else '[]' end)),
    d ->> 'documentationUrl', coalesce(d #>> '{source,image}', d #>> '{source,package}'), d #>> '{source,image}',
    d #>> '{source,version}',
    jsonb_path_query_array(d, '$.settings[*] ? (@.isSecret == true)'),
    jsonb_path_query_array(d, '$.settings[*] ? (!(@.isSecret == true))'), d -> 'permissions',
    coalesce(p ->> 'status', t.status), coalesce((p ->> 'isPublic')::boolean, t.is_public), d)
  on conflict (slug) do update set name = excluded.name, description = excluded.description,
    categories = excluded.categories, documentation_url = excluded.documentation_url,
    package_identifier = excluded.package_identifier, docker_image_url = excluded.docker_image_url,
    version = excluded.version, required_secrets_schema = excluded.required_secrets_schema,
    required_config_schema = excluded.required_config_schema,
    required_capabilities_schema = excluded.required_capabilities_schema, status = excluded.status,
    is_public = excluded.is_public, definition = excluded.definition
  returning c.id, c.revision into t.id, t.revision;
  if t.revision = 1 then
    update public.account_tool_instances set tool_catalog_id = t.id where template_slug = p_slug and tool_catalog_id is null;
  end if;
  return dtma.applied(t.id, t.revision);
end
$$;

create or replace function dtma.delete_template(p_slug text, p_base bigint) returns dtma.outcome
language plpgsql set search_path = '' as $$
declare
  t public.tool_catalog;
begin
  select * into t from public.tool_catalog where slug = p_slug for update;
  if not found then
    return dtma.applied(null, null);
  elsif p_base <> t.revision then
    return dtma.conflict_of('stale', t.id, t.revision);
  end if;
  delete from public.tool_catalog where id = t.id;
  return dtma.applied(t.id, null);
end
$$;

create or replace function dtma.apply_mutation(p_person uuid, p_admin boolean, p_kind text, p_id text, p_base bigint, p jsonb)
returns dtma.outcome
language plpgsql set search_path = '' as $$
begin
  if p_kind not like 'agent.%' and p_kind not like 'connection.%' and not p_admin then
    return dtma.rejected('FORBIDDEN', 'Only an admin can do this.');
  end if;
  case p_kind
    when 'agent.put' then return dtma.put_agent(p_person, p_admin, p_id::uuid, p_base, p);
    when 'agent.delete' then return dtma.delete_agent(p_person, p_admin, p_id::uuid, p_base);
    when 'connection.put' then return dtma.put_connection(p_person, p_admin, p_id::uuid, p_base, p);
    when 'connection.delete' then return dtma.delete_connection(p_person, p_admin, p_id::uuid);
    when 'toolbox.put' then return dtma.put_toolbox(p_person, p_id::uuid, p_base, p);
    when 'toolbox.delete' then return dtma.delete_toolbox(p_id::uuid, p_base);
    when 'server.put' then return dtma.put_server(p_id::uuid, p_base, p);
    when 'server.delete' then return dtma.delete_server(p_id::uuid, p_base, p);
    when 'template.put' then return dtma.put_template(p_id, p_base, p);
    when 'template.delete' then return dtma.delete_template(p_id, p_base);
    else return dtma.rejected('INVALID_INPUT', 'There is no such kind of change.');
  end case;
end
$$;

-- What a constraint or a cast that refused a mutation means to a person.
create or replace function dtma.explain_failure(p_state text, p_constraint text, p_kind text) returns dtma.outcome
language sql immutable
return case
  when p_constraint = 'account_tool_instances_name_key' then
    dtma.rejected('NAME_TAKEN', 'There is a server with this name on the toolbox already.')
  when p_constraint = 'account_tool_environments_do_droplet_id_key' then
    dtma.rejected('NAME_TAKEN', 'This droplet is a toolbox already.')
  when p_constraint = 'agent_mcp_connections_pair_key' then
    dtma.rejected('NAME_TAKEN', 'The agent is connected to this server already.')
  when p_state = '23503' and p_kind like '%.delete' then dtma.rejected('IN_USE', 'Something else still uses it.')
  when p_state = '23503' then dtma.rejected('NOT_FOUND', 'Something it refers to does not exist any more.')
  when p_state = '23505' then dtma.rejected('NAME_TAKEN', 'It exists already.')
  when left(p_state, 2) in ('22', '23') then
    dtma.rejected('INVALID_INPUT', 'A value is missing or not allowed' || coalesce(' (' || nullif(p_constraint, '') || ').', '.'))
  else dtma.rejected('INTERNAL', 'The database could not apply it (' || p_state || ').') end;

create or replace function dtma.result_json(p_id text, p_outcome dtma.outcome, p_kind text, p_person uuid, p_admin boolean)
returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  kept jsonb;
  current bigint := p_outcome.revision;
begin
  if p_outcome.status = 'conflict' then
    kept := dtma.row_json(split_part(p_kind, '.', 1), p_outcome.entity_id, p_person, p_admin);
    current := (select c.revision from dtma.sync_changes c
      where c.entity = split_part(p_kind, '.', 1) and c.id = p_outcome.entity_id and not c.is_deleted);
  end if;
  return jsonb_build_object('id', p_id, 'status', p_outcome.status, 'revision', current, 'row', kept,
    'code', p_outcome.code, 'message', p_outcome.message);
end
$$;

-- Plans are kept from when tables were small, so they must not be the ones that suit small tables.
create or replace function public.sync_push(p_mutations jsonb) returns jsonb
language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  person uuid := dtma.must_be_member();
  is_admin boolean := dtma.has_role(person, 'admin');
  uuid_form constant text := '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$';
  results jsonb[] := '{}';
  item jsonb;
  key uuid;
  kind text;
  base bigint;
  digest bytea;
  earlier dtma.sync_mutations;
  outcome dtma.outcome;
  failed_state text;
  failed_constraint text;
begin
  p_mutations := dtma.argument(p_mutations);
  if jsonb_typeof(p_mutations) is distinct from 'array' or jsonb_array_length(p_mutations) > 500 then
    perform dtma.refuse('INVALID_INPUT', 'p_mutations is a list of at most 500 mutations.');
  end if;
  for item in select value from jsonb_array_elements(p_mutations) loop
    kind := item ->> 'kind';
    if (item ->> 'id' ~ uuid_form and kind is not null and length(item ->> 'entityId') between 1 and 100
        and (kind like 'template.%' or item ->> 'entityId' ~ uuid_form) and jsonb_typeof(item -> 'payload') = 'object'
        and coalesce(item ->> 'baseRevision' ~ '^\d{1,15}$', true) and coalesce(item ->> 'after' ~ uuid_form, true)) is not true then
      outcome := dtma.rejected('INVALID_INPUT', 'This is no mutation.');
      results := results || dtma.result_json(item ->> 'id', outcome, kind, person, is_admin);
      continue;
    end if;
    key := (item ->> 'id')::uuid;
    base := (item ->> 'baseRevision')::bigint;
    digest := sha256(convert_to((item - 'baseRevision' - 'after')::text, 'UTF8'));

    if item ->> 'after' is not null then
      select * into earlier from dtma.sync_mutations m where m.id = (item ->> 'after')::uuid and m.person_id = person;
      if found and earlier.status = 'applied' then
        base := earlier.revision;
      elsif found then
        -- Not remembered: it is sent again, under the same id, when the one before it has been settled.
        outcome := dtma.rejected('PREDECESSOR', 'The change before this one was not applied.');
        results := results || dtma.result_json(key::text, outcome, kind, person, is_admin);
        continue;
      end if;
    end if;

    select * into earlier from dtma.sync_mutations m where m.id = key;
    if not found then
      begin
        outcome := dtma.apply_mutation(person, is_admin, kind, item ->> 'entityId', base, item -> 'payload');
        insert into dtma.sync_mutations (id, person_id, digest, entity, entity_id, status, revision, code, message)
        values (key, person, digest, split_part(kind, '.', 1), outcome.entity_id, outcome.status, outcome.revision,
          outcome.code, outcome.message);
      exception when others then
        get stacked diagnostics failed_state = returned_sqlstate, failed_constraint = constraint_name;
        if left(failed_state, 2) in ('40', '53', '54', '55', '57', '58', 'XX') then
          raise;
        end if;
        -- Perhaps another session applied this very mutation while this one worked on it.
        select * into earlier from dtma.sync_mutations m where m.id = key;
        if not found then
          outcome := dtma.explain_failure(failed_state, failed_constraint, kind);
          insert into dtma.sync_mutations (id, person_id, digest, entity, status, code, message)
          values (key, person, digest, split_part(kind, '.', 1), outcome.status, outcome.code, outcome.message)
          on conflict (id) do nothing;
        end if;
      end;
    end if;
    if earlier.id is not null then
      if earlier.person_id <> person or earlier.digest <> digest then
        outcome := dtma.rejected('ID_REUSED', 'Another change has been sent under this id.');
      else
        outcome := row(case earlier.status when 'applied' then 'duplicate' else earlier.status end, earlier.entity_id,
          earlier.revision, earlier.code, earlier.message)::dtma.outcome;
      end if;
    end if;
    results := results || dtma.result_json(key::text, outcome, kind, person, is_admin);
  end loop;
  return jsonb_build_object('results', to_jsonb(results));
end
$$;

revoke execute on function public.sync_push(jsonb) from public, anon, authenticated;
grant execute on function public.sync_push(jsonb) to authenticated;
revoke execute on all functions in schema dtma from public, anon, authenticated;
grant execute on function dtma.person_id(), dtma.is_admin(), dtma.is_member() to authenticated;

select dtma.record_migration('20261123000500', 'push');
