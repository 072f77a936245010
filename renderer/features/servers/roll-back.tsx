import type { Release } from "../../../shared/dtma-protocol.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { formatTime } from "../../format.ts";
import { useAction, useNow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { useConnectedAgents } from "./connected-agents.ts";
import { phraseOf } from "./release-model.ts";

const words = text.releases;

type RollBackProps = {
  server: Server;
  /** undefined where the toolbox keeps a release whose entry is not known. */
  target: Release | undefined;
  current: Release | undefined;
  isOpen: boolean;
  onClose(): void;
};

/** Goes back to the release before, after saying which one that is and who uses the server. */
export function RollBack({ server, target, current, isOpen, onClose }: RollBackProps) {
  const now = useNow();
  const agents = useConnectedAgents(server.id);
  const rollBack = useAction(async () => {
    await api.servers.rollback({ id: server.id });
    return true;
  });
  const phrase = (release: Release) => phraseOf(release, formatTime(release.at, now));
  return (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => {
        rollBack.clearError();
        onClose();
      }}
      title={words.dialogTitle(server.spec.name)}
      body={
        <>
          <p>
            {words.dialogBody(
              target === undefined ? words.before : phrase(target),
              current === undefined ? null : phrase(current),
            )}
          </p>
          <p className="mt-1.5">{words.dialogStaged}</p>
        </>
      }
      affected={{ label: text.servers.affectedAgents(agents.length), names: agents, moreLabel: text.app.andMore }}
      confirmLabel={target === undefined ? words.rollBack : words.rollBackTo(target.number)}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isDanger={false}
      isBusy={rollBack.isBusy}
      error={rollBack.error !== null && <AppErrorNote error={rollBack.error} />}
      onConfirm={async () => {
        if ((await rollBack.run()) === true) onClose();
      }}
    />
  );
}
