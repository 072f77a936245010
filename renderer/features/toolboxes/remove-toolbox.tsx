import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useConnectionsByServer, useServersOf } from "../../state/index.ts";
import { text } from "../../text.ts";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";

type RemoveToolboxProps = { toolbox: Toolbox; isOpen: boolean; onClose(): void; onRemoved(): void };

/** Forgets a toolbox, after naming the servers that go with it; with servers on it the name has to be typed. */
export function RemoveToolbox({ toolbox, isOpen, onClose, onRemoved }: RemoveToolboxProps) {
  const servers = useServersOf(toolbox.id);
  const connectionsOf = useConnectionsByServer();
  const agents = new Set(servers.flatMap((server) => connectionsOf(server.id).map((connection) => connection.agentId)));
  return (
    <ConfirmAction
      isOpen={isOpen}
      onClose={onClose}
      title={text.toolboxes.removeTitle(toolbox.name)}
      body={text.toolboxes.removeBody}
      affected={{
        label: text.toolboxes.removeAffects(servers.length, agents.size),
        names: servers.map((server) => server.spec.name),
      }}
      confirmLabel={text.toolboxes.remove}
      nameToType={servers.length === 0 ? undefined : { label: text.toolboxes.typeName(toolbox.name), name: toolbox.name }}
      perform={() => api.toolboxes.remove({ id: toolbox.id })}
      onDone={() => {
        announce({ title: text.toolboxes.removed(toolbox.name) });
        onRemoved();
      }}
    />
  );
}
