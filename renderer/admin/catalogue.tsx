import { Plus, SquareLibrary } from "lucide-react";
import { useMemo, useState } from "react";
import { Link, useSearch } from "wouter";
import { namedIn, type Template } from "../../shared/model/template.ts";
import { TemplateForm, TemplateGrid, TemplatePage } from "../features/catalogue/index.ts";
import { DeployForm } from "../features/servers/index.ts";
import { places } from "../places.ts";
import { useRow, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { buttonClass } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageBody, PageHeader } from "../ui/page.tsx";
import { SearchField } from "../ui/search-field.tsx";
import { Missing } from "./missing.tsx";

function useQuery(name: string): string | null {
  return new URLSearchParams(useSearch()).get(name);
}

/** By title, what is ready to be deployed before what has to be named first. */
function useTemplates(): readonly Template[] {
  const templates = useRows("templates");
  return useMemo(() => {
    const isOpen = ({ source }: Template) => namedIn(source) === undefined;
    return [...templates.filter((row) => !isOpen(row)), ...templates.filter(isOpen)];
  }, [templates]);
}

export function Catalogue() {
  const [query, setQuery] = useState("");
  const templates = useTemplates();
  const toolboxId = useQuery("toolbox");
  const shown = useMemo(() => {
    const needle = query.trim().toLowerCase();
    if (needle === "") return templates;
    return templates.filter((row) =>
      `${row.title} ${row.description} ${row.categories.join(" ")} ${namedIn(row.source) ?? ""}`.toLowerCase().includes(needle),
    );
  }, [templates, query]);
  return (
    <>
      <PageHeader
        title={text.catalogue.title}
        actions={
          <>
            <SearchField label={text.catalogue.search} value={query} onChange={setQuery} className="w-52" />
            <Link href={places.newTemplate()} className={buttonClass("secondary")}>
              <Plus size={15} aria-hidden className="-ml-0.5" />
              {text.catalogue.create}
            </Link>
          </>
        }
      />
      <PageBody>
        {templates.length > 0 && templates.every(({ origin }) => origin === "bundled") && (
          <p className="mb-3 text-muted text-sm">{text.catalogue.noneOfTeam}</p>
        )}
        {shown.length > 0 ? (
          <TemplateGrid templates={shown} toolboxId={toolboxId} />
        ) : templates.length === 0 ? (
          <EmptyState icon={SquareLibrary} title={text.catalogue.empty.title}>
            {text.catalogue.empty.body}
          </EmptyState>
        ) : (
          <EmptyState title={text.catalogue.noMatch.title}>{text.catalogue.noMatch.body}</EmptyState>
        )}
      </PageBody>
    </>
  );
}

export function TemplateScreen({ id }: { id: string }) {
  const template = useRow("templates", id);
  const toolboxId = useQuery("toolbox");
  return template === undefined ? <Missing /> : <TemplatePage template={template} toolboxId={toolboxId} />;
}

/** A new template, made from nothing or as a copy of the one in `?from=`. */
export function NewTemplateScreen() {
  const from = useQuery("from");
  const found = useRow("templates", from);
  const [copied] = useState(found);
  if (from !== null && copied === undefined) return <Missing />;
  return (
    <>
      <PageHeader title={text.templateForm.createTitle} trail={[{ label: text.catalogue.title, href: places.catalogue }]} />
      <PageBody className="pt-2" isFlush>
        <TemplateForm copied={copied} />
      </PageBody>
    </>
  );
}

export function EditTemplateScreen({ id }: { id: string }) {
  const template = useRow("templates", id);
  if (template === undefined || template.origin !== "team") return <Missing />;
  return (
    <>
      <PageHeader
        title={text.templateForm.editTitle(template.title)}
        trail={[{ label: text.catalogue.title, href: places.catalogue }]}
      />
      <PageBody className="pt-2" isFlush>
        <TemplateForm key={template.id} edited={template} />
      </PageBody>
    </>
  );
}

export function DeployScreen({ id }: { id: string }) {
  const template = useRow("templates", id);
  const toolboxId = useQuery("toolbox");
  const from = useRow("servers", useQuery("from"));
  const [edited] = useState(from);
  if (template === undefined) return <Missing />;
  const isUpdate = edited?.observed.state === "present";
  const title = edited === undefined ? text.deploy.short : text.deploy.edit(edited.spec.name);
  return (
    <>
      {isUpdate ? (
        <PageHeader
          title={text.servers.changeAndUpdate}
          trail={[
            { label: text.servers.title, href: places.servers },
            { label: edited.spec.name, href: places.server(edited.id) },
          ]}
        />
      ) : (
        <PageHeader
          title={title}
          trail={[
            { label: text.catalogue.title, href: places.catalogue },
            { label: template.title, href: places.template(template.id) },
          ]}
        />
      )}
      <PageBody className="pt-2" isFlush>
        <DeployForm key={template.id} template={template} toolboxId={toolboxId} edited={edited} />
      </PageBody>
    </>
  );
}
