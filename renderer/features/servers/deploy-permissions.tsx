import { Plus, X } from "lucide-react";
import type { ReactNode } from "react";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { Field, FieldGroup, NumberInput, RadioGroup, Select, Switch, TextArea, TextInput } from "../../ui/form.tsx";
import { beyondDefault, capabilityText, type Permission, type PermissionDraft, toPermissions } from "./permission-model.ts";
import { BeyondDefault } from "./permissions.tsx";

const words = text.deploy;
const most = { volumes: 8, ports: 16, capabilities: 16 };
const capabilityNames = Object.keys(text.permissions.capabilities);

type PermissionFieldsProps = {
  draft: { permissions: PermissionDraft };
  change(part: { permissions: PermissionDraft }): void;
  errorAt(field: string): string | undefined;
};

type PartProps = {
  permissions: PermissionDraft;
  set(part: Partial<PermissionDraft>): void;
  errorAt(field: string): string | undefined;
  /** The mark of a permission that is more than every server gets. */
  mark(...permissions: Permission[]): { aside?: ReactNode };
};

/** What the container may do; what is more than every server gets is marked. */
export function PermissionFields({ draft, change, errorAt }: PermissionFieldsProps) {
  const { permissions } = draft;
  const beyond = beyondDefault(toPermissions(permissions));
  const parts: PartProps = {
    permissions,
    set: (part) => change({ permissions: { ...permissions, ...part } }),
    errorAt: (field) => errorAt(`permissions.${field}`),
    mark: (...names) => (names.some((name) => beyond.has(name)) ? { aside: <BeyondDefault /> } : {}),
  };
  return (
    <>
      <Network {...parts} />
      <FileSystem {...parts} />
      <div className="grid grid-cols-2 gap-4">
        <Field label={words.memory} error={parts.errorAt("memoryBytes")} isRequired {...parts.mark("memoryBytes")}>
          <NumberInput value={permissions.memoryMib} onChange={(memoryMib) => parts.set({ memoryMib })} min={16} step={64} />
        </Field>
        <Field label={words.cpus} error={parts.errorAt("cpus")} isRequired {...parts.mark("cpus")}>
          <NumberInput value={permissions.cpus} onChange={(cpus) => parts.set({ cpus })} min={0.05} step={0.25} />
        </Field>
      </div>
      <Volumes {...parts} />
      <Capabilities {...parts} />
      <Ports {...parts} />
      <p className="text-faint text-xs">{text.permissions.always}</p>
    </>
  );
}

function Network({ permissions, set, errorAt }: PartProps) {
  return (
    <>
      <RadioGroup
        label={words.network}
        error={errorAt("network")}
        value={permissions.network}
        onChange={(network) => set({ network })}
        choices={(["none", "restricted", "open"] as const).map((value) => ({
          value,
          label: text.permissions.networks[value],
          detail: text.permissions.networkDetails[value],
        }))}
      />
      {permissions.network === "restricted" && (
        <Field label={words.allowedHosts} hint={words.allowedHostsHint} error={errorAt("allowedHosts")} isRequired>
          <TextArea
            isCode
            rows={3}
            placeholder={"api.example.com\n*.example.org:8443"}
            value={permissions.allowedHosts}
            onChange={(allowedHosts) => set({ allowedHosts })}
          />
        </Field>
      )}
    </>
  );
}

function FileSystem({ permissions, set, errorAt, mark }: PartProps) {
  return (
    <>
      <div className="flex items-start justify-between gap-3">
        <Switch
          isChecked={permissions.readOnlyRoot}
          onChange={(readOnlyRoot) => set({ readOnlyRoot })}
          label={words.readOnlyRoot}
          detail={permissions.readOnlyRoot ? text.permissions.readOnlyDetail : text.permissions.writableDetail}
        />
        {mark("readOnlyRoot").aside}
      </div>
      {permissions.readOnlyRoot && (
        <Field
          label={words.writablePaths}
          hint={words.writablePathsHint}
          error={errorAt("writablePaths")}
          {...mark("writablePaths")}
        >
          <TextArea
            isCode
            rows={1}
            placeholder="/var/cache"
            value={permissions.writablePaths}
            onChange={(writablePaths) => set({ writablePaths })}
          />
        </Field>
      )}
    </>
  );
}

function Volumes({ permissions: { volumes }, set, errorAt, mark }: PartProps) {
  const change = (key: number, part: { name?: string; path?: string }) =>
    set({ volumes: volumes.map((volume) => (volume.key === key ? { ...volume, ...part } : volume)) });
  return (
    <FieldGroup
      label={words.volumes}
      error={errorAt("volumes")}
      {...mark("volumes")}
      {...(volumes.length === 0 ? { hint: text.permissions.noVolumes } : {})}
    >
      <div className="flex flex-col gap-2">
        {volumes.map((volume) => (
          <div key={volume.key} className="grid grid-cols-[minmax(0,1fr)_minmax(0,1.4fr)_auto] items-center gap-2">
            <TextInput
              isCode
              aria-label={words.volumeName}
              placeholder={words.volumeName}
              value={volume.name}
              onChange={(name) => change(volume.key, { name })}
            />
            <TextInput
              isCode
              aria-label={words.volumePath}
              placeholder="/data"
              value={volume.path}
              onChange={(path) => change(volume.key, { path })}
            />
            <IconButton
              size="sm"
              icon={X}
              label={words.removeVolume(volume.name)}
              onClick={() => set({ volumes: volumes.filter((other) => other.key !== volume.key) })}
            />
          </div>
        ))}
        {volumes.length < most.volumes && (
          <Add
            label={words.addVolume}
            onAdd={() => set({ volumes: [...volumes, { key: nextKey(volumes), name: "", path: "" }] })}
          />
        )}
      </div>
    </FieldGroup>
  );
}

function Capabilities({ permissions: { capabilities }, set, errorAt, mark }: PartProps) {
  const offered = capabilityNames.filter((name) => !capabilities.includes(name));
  return (
    <FieldGroup
      label={words.capabilities}
      error={errorAt("capabilities")}
      {...mark("capabilities")}
      {...(capabilities.length === 0 ? { hint: words.noCapabilities } : {})}
    >
      {capabilities.length > 0 && (
        <ul className="flex flex-col gap-1.5">
          {capabilities.map((name) => (
            <li key={name} className="flex items-start gap-2 text-sm">
              <span className="min-w-0 flex-1">
                <code className="font-mono text-xs">{name}</code>
                <span className="block text-muted text-xs">{capabilityText(name)}</span>
              </span>
              <IconButton
                size="sm"
                icon={X}
                label={words.removeCapability(name)}
                onClick={() => set({ capabilities: capabilities.filter((other) => other !== name) })}
              />
            </li>
          ))}
        </ul>
      )}
      {capabilities.length < most.capabilities && offered.length > 0 && (
        <Select<string>
          aria-label={words.addCapability}
          className="max-w-64"
          value={null}
          placeholder={words.addCapability}
          onChange={(name) => set({ capabilities: [...capabilities, name] })}
          choices={offered.map((value) => ({ value, label: value, detail: capabilityText(value) }))}
        />
      )}
    </FieldGroup>
  );
}

function Ports({ permissions: { ports }, set, errorAt, mark }: PartProps) {
  const change = (key: number, part: { container?: number | null; host?: number | null }) =>
    set({ ports: ports.map((port) => (port.key === key ? { ...port, ...part } : port)) });
  return (
    <FieldGroup
      label={words.ports}
      error={errorAt("ports")}
      hint={ports.length === 0 ? words.noPorts : words.portsHint}
      {...mark("ports")}
    >
      <div className="flex flex-col gap-2">
        {ports.map((port) => (
          <div key={port.key} className="grid grid-cols-[minmax(0,1fr)_minmax(0,1fr)_auto] items-center gap-2">
            <NumberInput
              aria-label={words.containerPort}
              placeholder={words.containerPort}
              value={port.container}
              onChange={(container) => change(port.key, { container })}
              min={1}
              max={65_535}
            />
            <NumberInput
              aria-label={words.hostPort}
              placeholder={words.hostPort}
              value={port.host}
              onChange={(host) => change(port.key, { host })}
              min={0}
              max={65_535}
            />
            <IconButton
              size="sm"
              icon={X}
              label={words.removePort(port.container)}
              onClick={() => set({ ports: ports.filter((other) => other.key !== port.key) })}
            />
          </div>
        ))}
        {ports.length < most.ports && (
          <Add
            label={words.addPort}
            onAdd={() => set({ ports: [...ports, { key: nextKey(ports), container: null, host: 0 }] })}
          />
        )}
      </div>
    </FieldGroup>
  );
}

function Add({ label, onAdd }: { label: string; onAdd(): void }) {
  return (
    <div>
      <Button size="sm" icon={Plus} onClick={onAdd}>
        {label}
      </Button>
    </div>
  );
}

function nextKey(items: readonly { key: number }[]): number {
  return 1 + Math.max(-1, ...items.map(({ key }) => key));
}
