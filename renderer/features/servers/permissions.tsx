import { Globe, HardDrive, KeySquare, Lock, type LucideIcon, MemoryStick, Network, PencilLine, ScrollText } from "lucide-react";
import type { ReactNode } from "react";
import type { ServerPermissions, ServerSource } from "../../../shared/model/spec.ts";
import type { TemplateSource } from "../../../shared/model/template.ts";
import { formatBytes } from "../../format.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { beyondDefault, capabilityText } from "./permission-model.ts";

const words = text.permissions;

type Item = { icon: LucideIcon; title: string; detail: ReactNode; isBeyond: boolean };

type PermissionListProps = {
  permissions: ServerPermissions;
  /** Where it comes from: a package may ask for its install scripts. */
  source: ServerSource | TemplateSource;
};

/** What a container may do, in words; what is more than every server gets is marked. */
export function PermissionList({ permissions, source }: PermissionListProps) {
  return (
    <ul className="flex flex-col gap-2.5">
      {itemsOf(permissions, source).map(({ icon: Icon, title, detail, isBeyond }) => (
        <li key={title} className="flex items-start gap-2.5 text-sm">
          <Icon size={15} strokeWidth={1.75} aria-hidden className="mt-[3px] shrink-0 text-faint" />
          <span className="min-w-0">
            <span className="flex flex-wrap items-center gap-x-2">
              {title}
              {isBeyond && <BeyondDefault />}
            </span>
            {detail !== "" && <span className="block break-words text-muted text-xs">{detail}</span>}
          </span>
        </li>
      ))}
    </ul>
  );
}

/** Marks what is more than a server gets when nothing is asked for. */
export function BeyondDefault() {
  return <Badge tone="warn">{words.beyond}</Badge>;
}

function itemsOf(permissions: ServerPermissions, source: PermissionListProps["source"]): Item[] {
  const { network, allowedHosts, readOnlyRoot, writablePaths, volumes, capabilities, ports } = permissions;
  const { memoryBytes, cpus, pids } = permissions;
  const beyond = beyondDefault(permissions);
  const items: (Item | false)[] = [
    {
      icon: Globe,
      title: words.networks[network],
      detail:
        network === "restricted" ? (
          <>
            {words.networkDetails.restricted}
            <code className="block break-words font-mono">{words.reaches(allowedHosts)}</code>
          </>
        ) : (
          words.networkDetails[network]
        ),
      isBeyond: false,
    },
    {
      icon: Lock,
      title: readOnlyRoot ? words.readOnlyRoot : words.writableRoot,
      detail: readOnlyRoot ? words.readOnlyDetail : words.writableDetail,
      isBeyond: !readOnlyRoot,
    },
    writablePaths.length > 0 && {
      icon: PencilLine,
      title: words.writablePaths,
      detail: words.writablePathsDetail(writablePaths),
      isBeyond: true,
    },
    {
      icon: HardDrive,
      title: words.volumes,
      detail:
        volumes.length === 0 ? words.noVolumes : volumes.map((volume) => words.volume(volume.name, volume.path)).join(", "),
      isBeyond: beyond.has("volumes"),
    },
    capabilities.length > 0 && {
      icon: KeySquare,
      title: words.capabilitiesTitle,
      detail: capabilities.map((name) => (
        <span key={name} className="block">
          <code className="font-mono">{name}</code>: {capabilityText(name)}
        </span>
      )),
      isBeyond: true,
    },
    ports.length > 0 && {
      icon: Network,
      title: words.ports,
      detail: ports.map(({ container, host }) => words.port(container, host)).join(", "),
      isBeyond: true,
    },
    source.type === "npm" &&
      source.installScripts === true && {
        icon: ScrollText,
        title: words.installScripts,
        detail: words.installScriptsDetail,
        isBeyond: true,
      },
    {
      icon: MemoryStick,
      title: `${formatBytes(memoryBytes)}, ${words.cpusValue(cpus)}`,
      detail: `${words.pids}: ${text.counts.plain(pids)}`,
      isBeyond: beyond.has("memoryBytes") || beyond.has("cpus") || beyond.has("pids"),
    },
  ];
  return items.filter((item) => item !== false);
}
