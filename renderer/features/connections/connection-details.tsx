import { mcpEndpointPath } from "../../../shared/dtma-protocol.ts";
import { type Agent, type Connection, isOver } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatDateTime } from "../../format.ts";
import { useNowSelect, useRow, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { CopyButton } from "../../ui/copy-button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { Section } from "../../ui/page.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { accessLabel } from "./access-label.ts";
import { useConnectionServer, useIsPending } from "./connection-server.ts";
import { ConnectionUsage } from "./connection-usage.tsx";
import { endLabel } from "./end.ts";
import { RenewToken } from "./renew-token.tsx";
import { SignsInAs, useSignInClient } from "./sign-in-client.tsx";

const words = text.connections.details;

/** Address of a server's MCP endpoint; null while its toolbox has no address. It never holds a token. */
export function endpointOf(server: Server, toolbox: Pick<Toolbox, "url"> | undefined): string | null {
  if (toolbox === undefined || toolbox.url === null) return null;
  return new URL(mcpEndpointPath(server.spec.name), toolbox.url).href;
}

type ConnectionDetailsProps = { connection: Connection; agent: Agent; server: Server | undefined };

/** Delivery, use and address of a connection. */
export function ConnectionDetails({ connection, agent, server }: ConnectionDetailsProps) {
  const toolbox = useRow("toolboxes", server?.toolboxId);
  const isExpired = useNowSelect((now) => isOver(connection, now));
  const end = useNowSelect((now) => endLabel(connection, now));
  const endpoint = connection.shared?.endpoint?.url ?? (server === undefined ? null : endpointOf(server, toolbox));
  const tools = useServerTools(server);
  const isPending = useIsPending(connection);
  const { name: serverName } = useConnectionServer(connection);
  const asked = useSignInClient(connection);
  return (
    <div className="flex max-w-5xl flex-col gap-6">
      <Section title={words.endpoint}>
        {endpoint === null ? (
          <p className="text-muted text-sm">{words.noEndpoint}</p>
        ) : (
          <div className="flex items-center gap-2 rounded-lg border border-line bg-sunken py-1 pr-1.5 pl-3">
            <code className="min-w-0 flex-1 break-all font-mono text-xs">{endpoint}</code>
            <CopyButton text={endpoint} label={words.copyEndpoint} copiedLabel={text.app.copied} />
          </div>
        )}
        <p className="text-muted text-xs">{words.endpointHint}</p>
      </Section>
      <ConnectionUsage connection={connection} />
      <Section title={words.facts}>
        <KeyValues
          items={[
            { label: words.agent, value: agent.name },
            { label: words.server, value: serverName },
            { label: words.toolbox, value: toolbox?.name ?? connection.shared?.toolboxName ?? text.app.none },
            { label: words.access, value: accessLabel(connection, tools) },
            { label: words.ends, value: isExpired ? <StatusDot tone="danger">{end}</StatusDot> : end },
            {
              label: words.delivery,
              value: isPending ? (
                <StatusDot tone="warn">{words.deliveryPending}</StatusDot>
              ) : (
                <StatusDot tone="ok">{words.deliveryDone}</StatusDot>
              ),
            },
            {
              label: words.token,
              value: (
                <span className="flex flex-wrap items-center gap-3">
                  {words.tokenKept}
                  <RenewToken connection={connection} agentName={agent.name} serverName={serverName} />
                </span>
              ),
            },
            ...(asked.answer === null && asked.error === null
              ? []
              : [{ label: text.connections.signInClient.label, value: <SignsInAs connection={connection} {...asked} /> }]),
            { label: words.created, value: formatDateTime(connection.createdAt) },
          ]}
        />
      </Section>
    </div>
  );
}
