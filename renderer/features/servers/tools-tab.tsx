import { ChevronRight, Wrench } from "lucide-react";
import { useMemo, useState } from "react";
import type { Server } from "../../../shared/model/server.ts";
import type { Tool } from "../../../shared/model/tool.ts";
import { formatAgo } from "../../format.ts";
import { useNowSelect, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { PageBody } from "../../ui/page.tsx";
import { SearchField } from "../../ui/search-field.tsx";

/** The tools a server named, with what they take. */
export function ServerTools({ server }: { server: Server }) {
  const [query, setQuery] = useState("");
  const tools = useServerTools(server);
  const age = useNowSelect((now) => (tools === null ? "" : formatAgo(now - tools.at)));
  const shown = useMemo(() => {
    const needle = query.trim().toLowerCase();
    return (tools?.items ?? []).filter((tool) =>
      `${tool.name} ${tool.title ?? ""} ${tool.description ?? ""}`.toLowerCase().includes(needle),
    );
  }, [tools, query]);
  if (tools === null || tools.items.length === 0)
    return (
      <EmptyState icon={Wrench} headingLevel={3} title={text.servers.noTools.title}>
        {text.servers.noTools.body}
      </EmptyState>
    );
  return (
    <>
      <div className="flex h-12 shrink-0 items-center gap-3 px-5">
        <SearchField label={text.servers.searchTools} value={query} onChange={setQuery} />
        <span className="tnum text-faint text-xs">
          {text.counts.tools(tools.items.length)}, {text.servers.toolsAsOf(age)}
        </span>
      </div>
      <PageBody>
        {shown.length === 0 ? (
          <EmptyState headingLevel={3} title={text.servers.noToolMatch} />
        ) : (
          <ul className="divide-y divide-line overflow-hidden rounded-lg border border-line">
            {shown.map((tool) => (
              <ToolRow key={tool.name} tool={tool} />
            ))}
          </ul>
        )}
      </PageBody>
    </>
  );
}

const hints = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] as const;

function ToolRow({ tool }: { tool: Tool }) {
  const title = tool.title ?? tool.annotations?.title;
  return (
    <li>
      <details className="group">
        <summary className="flex min-h-11 list-none items-start gap-2.5 px-3.5 py-2.5 outline-offset-[-2px] hover:bg-hover [&::-webkit-details-marker]:hidden">
          <ChevronRight
            size={14}
            aria-hidden
            className="mt-[3px] shrink-0 text-faint transition-transform duration-100 group-open:rotate-90"
          />
          <div className="min-w-0 flex-1">
            <div className="flex flex-wrap items-center gap-2">
              <code className="font-medium font-mono text-xs">{tool.name}</code>
              {title !== undefined && title !== tool.name && <span className="text-muted text-sm">{title}</span>}
              {hints.map(
                (hint) =>
                  tool.annotations?.[hint] === true && (
                    <Badge key={hint} tone={hint === "destructiveHint" ? "warn" : "plain"}>
                      {text.servers.toolHints[hint]}
                    </Badge>
                  ),
              )}
            </div>
            {tool.description !== undefined && (
              <p className="line-clamp-2 break-words text-muted text-sm group-open:line-clamp-none group-open:whitespace-pre-line">
                {tool.description}
              </p>
            )}
          </div>
        </summary>
        <div className="flex flex-col gap-4 border-line border-t bg-sunken px-4 py-3 pl-10">
          <Schema title={text.servers.inputSchema} schema={tool.inputSchema} />
          {tool.outputSchema !== undefined && <Schema title={text.servers.outputSchema} schema={tool.outputSchema} />}
        </div>
      </details>
    </li>
  );
}

type Property = { name: string; type: string; description: string | undefined; isRequired: boolean };

function Schema({ title, schema }: { title: string; schema: Tool["inputSchema"] }) {
  const properties = propertiesOf(schema);
  return (
    <div className="min-w-0">
      <p className="mb-1 font-medium text-xs">{title}</p>
      {properties.length === 0 ? (
        <p className="text-muted text-sm">{text.servers.noInput}</p>
      ) : (
        <dl className="grid grid-cols-[minmax(6rem,auto)_minmax(0,1fr)] gap-x-5 gap-y-1 text-sm">
          {properties.map((property) => (
            <div key={property.name} className="contents">
              <dt className="break-all">
                <code className="font-mono text-xs">{property.name}</code>
              </dt>
              <dd className="min-w-0 break-words">
                <code className="font-mono text-2xs text-accent-text">{property.type}</code>
                {!property.isRequired && <span className="ml-1.5 text-faint text-xs">{text.servers.optional}</span>}
                {property.description !== undefined && <span className="ml-2 text-muted">{property.description}</span>}
              </dd>
            </div>
          ))}
        </dl>
      )}
      <details className="mt-2">
        <summary className="w-fit rounded-sm text-faint text-xs hover:text-ink">{text.servers.rawSchema}</summary>
        <pre
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard
          tabIndex={0}
          className="mt-1 max-h-72 overflow-auto rounded-md border border-line bg-surface p-2.5 font-mono text-2xs"
        >
          {JSON.stringify(schema, null, 2)}
        </pre>
      </details>
    </div>
  );
}

type SchemaNode = { type?: unknown; enum?: unknown[]; description?: unknown; items?: SchemaNode; $ref?: unknown };

function propertiesOf(schema: Tool["inputSchema"]): Property[] {
  const properties = (schema.properties ?? {}) as Record<string, SchemaNode | boolean>;
  const required = Array.isArray(schema.required) ? (schema.required as unknown[]) : [];
  return Object.entries(properties).map(([name, node]) => {
    const known: SchemaNode = typeof node === "object" && node !== null ? node : {};
    return {
      name,
      type: typeName(known),
      description: typeof known.description === "string" ? known.description : undefined,
      isRequired: required.includes(name),
    };
  });
}

function typeName(node: SchemaNode): string {
  if (Array.isArray(node.enum)) return node.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (node.type === "array") return `${typeName(node.items ?? {})}[]`;
  if (typeof node.type === "string") return node.type;
  if (Array.isArray(node.type)) return node.type.map(String).join(" | ");
  return typeof node.$ref === "string" ? (node.$ref.split("/").at(-1) ?? "any") : "any";
}
