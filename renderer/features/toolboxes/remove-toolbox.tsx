import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useAction, useConnectionsByServer, useServersOf } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type RemoveToolboxProps = { toolbox: Toolbox; isOpen: boolean; onClose(): void; onRemoved(): void };

/** Forgets a toolbox, after naming the servers that go with it; with servers on it the name has to be typed. */
export function RemoveToolbox({ toolbox, isOpen, onClose, onRemoved }: RemoveToolboxProps) {
  const servers = useServersOf(toolbox.id);
  const connectionsOf = useConnectionsByServer();
  const agents = new Set(servers.flatMap((server) => connectionsOf(server.id).map((connection) => connection.agentId)));
  const remove = useAction(async () => {
    await api.toolboxes.remove({ id: toolbox.id });
    return true;
  });
  return (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => {
        remove.clearError();
        onClose();
      }}
      title={text.toolboxes.removeTitle(toolbox.name)}
      body={text.toolboxes.removeBody}
      affected={{
        label: text.toolboxes.removeAffects(servers.length, agents.size),
        names: servers.map((server) => server.spec.name),
        moreLabel: text.app.andMore,
      }}
      confirmLabel={text.toolboxes.remove}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      nameToType={servers.length === 0 ? undefined : { label: text.toolboxes.typeName(toolbox.name), name: toolbox.name }}
      isBusy={remove.isBusy}
      error={remove.error !== null && <AppErrorNote error={remove.error} />}
      onConfirm={async () => {
        if ((await remove.run()) !== true) return;
        announce({ title: text.toolboxes.removed(toolbox.name) });
        onRemoved();
      }}
    />
  );
}
