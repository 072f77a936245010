import { Plus, X } from "lucide-react";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { Field, FieldGroup, NumberInput, Switch, TextInput } from "../../ui/form.tsx";
import type { PermissionDraft } from "./deploy-model.ts";

const mostVolumes = 8;

type PermissionFieldsProps = {
  draft: { permissions: PermissionDraft };
  change(part: { permissions: PermissionDraft }): void;
  errorAt(field: string): string | undefined;
};

/** What the container may do. */
export function PermissionFields({ draft, change, errorAt }: PermissionFieldsProps) {
  const { permissions } = draft;
  const { volumes } = permissions;
  const set = (part: Partial<PermissionDraft>) => change({ permissions: { ...permissions, ...part } });
  const setVolume = (key: number, part: { name?: string; path?: string }) =>
    set({ volumes: volumes.map((volume) => (volume.key === key ? { ...volume, ...part } : volume)) });
  return (
    <>
      <div className="flex flex-col gap-3">
        <Switch
          isChecked={permissions.network === "open"}
          onChange={(isOpen) => set({ network: isOpen ? "open" : "none" })}
          label={text.deploy.network}
          detail={text.permissions.networkDetails[permissions.network]}
        />
        <Switch
          isChecked={permissions.readOnlyRoot}
          onChange={(readOnlyRoot) => set({ readOnlyRoot })}
          label={text.deploy.readOnlyRoot}
          detail={text.permissions.readOnlyDetail}
        />
      </div>
      <div className="grid grid-cols-2 gap-4">
        <Field label={text.deploy.memory} error={errorAt("permissions.memoryBytes")} isRequired>
          <NumberInput value={permissions.memoryMib} onChange={(memoryMib) => set({ memoryMib })} min={16} step={64} />
        </Field>
        <Field label={text.deploy.cpus} error={errorAt("permissions.cpus")} isRequired>
          <NumberInput value={permissions.cpus} onChange={(cpus) => set({ cpus })} min={0.05} step={0.25} />
        </Field>
      </div>
      <FieldGroup
        label={text.deploy.volumes}
        error={errorAt("permissions.volumes")}
        {...(volumes.length === 0 ? { hint: text.permissions.noVolumes } : {})}
      >
        <div className="flex flex-col gap-2">
          {volumes.map((volume) => (
            <div key={volume.key} className="grid grid-cols-[minmax(0,1fr)_minmax(0,1.4fr)_auto] items-center gap-2">
              <TextInput
                isCode
                aria-label={text.deploy.volumeName}
                placeholder={text.deploy.volumeName}
                value={volume.name}
                onChange={(name) => setVolume(volume.key, { name })}
              />
              <TextInput
                isCode
                aria-label={text.deploy.volumePath}
                placeholder="/data"
                value={volume.path}
                onChange={(path) => setVolume(volume.key, { path })}
              />
              <IconButton
                size="sm"
                icon={X}
                label={text.deploy.removeVolume(volume.name)}
                onClick={() => set({ volumes: volumes.filter((other) => other.key !== volume.key) })}
              />
            </div>
          ))}
          {volumes.length < mostVolumes && (
            <div>
              <Button
                size="sm"
                icon={Plus}
                onClick={() =>
                  set({
                    volumes: [
                      ...volumes,
                      { key: 1 + Math.max(-1, ...volumes.map((volume) => volume.key)), name: "", path: "" },
                    ],
                  })
                }
              >
                {text.deploy.addVolume}
              </Button>
            </div>
          )}
        </div>
      </FieldGroup>
      <p className="text-faint text-xs">{text.permissions.always}</p>
    </>
  );
}
