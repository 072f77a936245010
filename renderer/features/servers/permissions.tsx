import { Globe, HardDrive, Lock, type LucideIcon, MemoryStick } from "lucide-react";
import type { ServerPermissions } from "../../../shared/model/spec.ts";
import { formatBytes } from "../../format.ts";
import { text } from "../../text.ts";

/** What a container may do, in words. */
export function PermissionList({ permissions }: { permissions: ServerPermissions }) {
  const { network, readOnlyRoot, volumes, memoryBytes, cpus } = permissions;
  const items: { icon: LucideIcon; title: string; detail: string }[] = [
    { icon: Globe, title: text.permissions.networks[network], detail: text.permissions.networkDetails[network] },
    {
      icon: Lock,
      title: readOnlyRoot ? text.permissions.readOnlyRoot : text.permissions.writableRoot,
      detail: readOnlyRoot ? text.permissions.readOnlyDetail : "",
    },
    {
      icon: HardDrive,
      title: text.permissions.volumes,
      detail:
        volumes.length === 0
          ? text.permissions.noVolumes
          : volumes.map((volume) => text.permissions.volume(volume.name, volume.path)).join(", "),
    },
    {
      icon: MemoryStick,
      title: `${formatBytes(memoryBytes)}, ${text.permissions.cpusValue(cpus)}`,
      detail: `${text.permissions.pids}: ${text.counts.plain(permissions.pids)}`,
    },
  ];
  return (
    <ul className="flex flex-col gap-2.5">
      {items.map(({ icon: Icon, title, detail }) => (
        <li key={title} className="flex items-start gap-2.5 text-sm">
          <Icon size={15} strokeWidth={1.75} aria-hidden className="mt-[3px] shrink-0 text-faint" />
          <span className="min-w-0">
            {title}
            {detail !== "" && <span className="block break-words text-muted text-xs">{detail}</span>}
          </span>
        </li>
      ))}
    </ul>
  );
}
