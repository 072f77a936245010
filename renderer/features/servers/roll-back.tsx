import type { Release } from "../../../shared/dtma-protocol.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { formatTime } from "../../format.ts";
import { useNow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmAction } from "../confirm/index.tsx";
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
  const phrase = (release: Release) => phraseOf(release, formatTime(release.at, now));
  return (
    <ConfirmAction
      isOpen={isOpen}
      onClose={onClose}
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
      affected={{ label: text.servers.affectedAgents(agents.length), names: agents }}
      confirmLabel={target === undefined ? words.rollBack : words.rollBackTo(target.number)}
      isDanger={false}
      perform={() => api.servers.rollback({ id: server.id })}
      onDone={onClose}
    />
  );
}
