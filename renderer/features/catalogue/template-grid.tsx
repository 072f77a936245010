import { Box, Package } from "lucide-react";
import { Link } from "wouter";
import type { Server } from "../../../shared/model/server.ts";
import { namedIn, type Template } from "../../../shared/model/template.ts";
import { places } from "../../places.ts";
import { perTable } from "../../state/derived.ts";
import { useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { join } from "../../ui/join.ts";

type TemplateGridProps = { templates: readonly Template[]; toolboxId: string | null };

/** What can be deployed. */
export function TemplateGrid({ templates, toolboxId }: TemplateGridProps) {
  const deployed = useCopy((copy) => countByTemplate(copy.tables.servers));
  return (
    <ul aria-label={text.catalogue.list} className="grid grid-cols-2 gap-3 min-[1180px]:grid-cols-3">
      {templates.map((template) => (
        <li key={template.id}>
          <TemplateCard template={template} deployed={deployed.get(template.id) ?? 0} toolboxId={toolboxId} />
        </li>
      ))}
    </ul>
  );
}

type TemplateCardProps = { template: Template; deployed: number; toolboxId: string | null };

function TemplateCard({ template, deployed, toolboxId }: TemplateCardProps) {
  const { source } = template;
  const named = namedIn(source);
  const Icon = source.type === "oci" ? Box : Package;
  const query = toolboxId === null ? "" : `?toolbox=${toolboxId}`;
  return (
    <Link
      href={`${places.template(template.id)}${query}`}
      className="group flex h-full flex-col gap-1.5 rounded-xl border border-line bg-surface px-4 py-3.5 hover:border-control hover:bg-hover"
    >
      <span className="flex items-center gap-2.5">
        <span className="grid size-7 shrink-0 place-items-center rounded-md bg-idle-soft text-muted">
          <Icon size={15} strokeWidth={1.75} aria-hidden />
        </span>
        <span className="min-w-0 flex-1 truncate font-semibold text-sm">{template.title}</span>
        {template.origin === "team" && <Badge tone="accent">{text.catalogue.team}</Badge>}
        {deployed > 0 && <Badge>{text.catalogue.deployed(deployed)}</Badge>}
      </span>
      <span className="line-clamp-2 text-muted text-sm">{template.description}</span>
      <span className={join("mt-auto truncate pt-1 text-2xs text-faint", named !== undefined && "font-mono")}>
        {named ?? anySource(source)}
      </span>
    </Link>
  );
}

/** What can be named where a template names nothing. */
export function anySource({ type }: Template["source"]): string {
  return { npm: text.catalogue.anyPackage, pypi: text.catalogue.anyPypiPackage, oci: text.catalogue.anyImage }[type];
}

const countByTemplate = perTable((servers: ReadonlyMap<string, Server>) => {
  const counts = new Map<string, number>();
  for (const { templateId } of servers.values()) {
    if (templateId !== null) counts.set(templateId, (counts.get(templateId) ?? 0) + 1);
  }
  return counts;
});
