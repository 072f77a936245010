import { Copy, Ellipsis, ExternalLink, Pencil, Rocket, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { namedIn, type Template, type TemplateSetting } from "../../../shared/model/template.ts";
import { places } from "../../places.ts";
import { useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { buttonClass, IconButton } from "../../ui/button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageBody, PageHeader, Section } from "../../ui/page.tsx";
import { PermissionList, ServersTable, transportLine } from "../servers/index.ts";
import { DeleteTemplate } from "./delete-template.tsx";
import { anySource } from "./template-grid.tsx";

/** What a template is, what it needs and what it asks for. */
export function TemplatePage({ template, toolboxId }: { template: Template; toolboxId: string | null }) {
  const [, navigate] = useLocation();
  const [isDeleting, setDeleting] = useState(false);
  const isOwn = template.origin === "team";
  const servers = useRows("servers").filter((server) => server.templateId === template.id);
  const deploy = places.deploy(template.id, toolboxId === null ? {} : { toolboxId });
  return (
    <>
      <PageHeader
        title={template.title}
        trail={[{ label: text.catalogue.title, href: places.catalogue }]}
        aside={
          <>
            {isOwn && <Badge tone="accent">{text.catalogue.team}</Badge>}
            {template.categories.map((category) => (
              <Badge key={category}>{category}</Badge>
            ))}
          </>
        }
        actions={
          <>
            <Menu
              trigger={<IconButton icon={Ellipsis} label={text.app.more} />}
              entries={[
                {
                  label: text.catalogue.duplicate,
                  icon: Copy,
                  onSelect: () => navigate(places.newTemplate(template.id)),
                },
                ...(isOwn
                  ? ([
                      { label: text.app.edit, icon: Pencil, onSelect: () => navigate(places.editTemplate(template.id)) },
                      "separator",
                      { label: text.app.delete, icon: Trash2, isDanger: true, onSelect: () => setDeleting(true) },
                    ] as const)
                  : []),
              ]}
            />
            <Link href={deploy} className={buttonClass("primary")}>
              <Rocket size={15} aria-hidden className="-ml-0.5" />
              {text.catalogue.deploy}
            </Link>
          </>
        }
      >
        {template.description}
      </PageHeader>
      <PageBody className="pt-2">
        <div className="flex flex-col gap-7">
          <div className="grid gap-x-10 gap-y-7 min-[1080px]:grid-cols-2">
            <div className="flex min-w-0 flex-col gap-7">
              <Section title={text.catalogue.about}>
                <About template={template} />
              </Section>
              <Section title={text.catalogue.settings}>
                <Settings settings={template.settings} />
              </Section>
            </div>
            <Section title={text.catalogue.permissions}>
              <PermissionList permissions={template.permissions} source={template.source} />
              <p className="mt-2 text-faint text-xs">{text.permissions.always}</p>
            </Section>
          </div>
          {servers.length > 0 && (
            <Section title={text.catalogue.deployments} aside={text.counts.plain(servers.length)}>
              <div className="overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
                <ServersTable servers={servers} isFilling={false} empty={null} />
              </div>
            </Section>
          )}
        </div>
      </PageBody>
      {isOwn && (
        <DeleteTemplate
          template={template}
          isOpen={isDeleting}
          onClose={() => setDeleting(false)}
          onDeleted={() => navigate(places.catalogue)}
        />
      )}
    </>
  );
}

function About({ template }: { template: Template }) {
  const { source, transport, documentationUrl } = template;
  const named = namedIn(source);
  const code = (value: string) => <code className="break-words font-mono text-xs">{value}</code>;
  return (
    <KeyValues
      items={[
        {
          label: text.catalogue.sources[source.type],
          value: named === undefined ? anySource(source) : code(source.type === "oci" ? named : `${named}@${source.version}`),
        },
        ...(source.type === "oci" && source.pull !== undefined
          ? [{ label: text.deploy.pull, value: text.permissions.pulls[source.pull] }]
          : []),
        {
          label: text.catalogue.transport,
          value: transportLine(transport),
        },
        ...(template.arguments.length === 0
          ? []
          : [{ label: text.catalogue.arguments, value: code(template.arguments.join(" ")) }]),
        ...(documentationUrl === undefined
          ? []
          : [
              {
                label: text.catalogue.documentation,
                value: (
                  <a
                    href={documentationUrl}
                    target="_blank"
                    rel="noreferrer"
                    className="inline-flex items-center gap-1 text-accent-text hover:underline"
                  >
                    {text.catalogue.openDocumentation}
                    <ExternalLink size={12} aria-hidden />
                  </a>
                ),
              },
            ]),
      ]}
    />
  );
}

function Settings({ settings }: { settings: readonly TemplateSetting[] }) {
  if (settings.length === 0) return <p className="text-muted text-sm">{text.catalogue.noSettings}</p>;
  return (
    <ul className="flex flex-col gap-3">
      {settings.map((setting) => (
        <li key={setting.name} className="text-sm">
          <span className="flex flex-wrap items-center gap-2">
            <span className="font-medium">{setting.title}</span>
            <code className="font-mono text-2xs text-faint">{setting.name}</code>
            {setting.isRequired && <Badge tone="accent">{text.catalogue.required}</Badge>}
            {setting.isSecret && <Badge tone="warn">{text.catalogue.secret}</Badge>}
          </span>
          {setting.description !== "" && <p className="text-muted">{setting.description}</p>}
          {setting.default !== undefined && (
            <p className="break-words text-faint text-xs">{text.catalogue.defaultsTo(setting.default)}</p>
          )}
        </li>
      ))}
    </ul>
  );
}
