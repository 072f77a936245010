import type { Socket } from "./host/listening.ts";
import { isLoopback } from "./settings.ts";

/** `what`: `dtma`, `egress-proxy` (for restricted servers, on their bridge), `server NAME`, or `unknown` of this process. */
export type Listener = Socket & { what: string };
export type Exposure = { beyondLoopback: boolean; listeners: Listener[] };

export type Listening = {
  /** As the kernel lists them; undefined where it does not say, and what was set counts. */
  sockets: readonly Socket[] | undefined;
  dtma: Socket | undefined;
  egress: Socket | undefined;
  servers: readonly { name: string; publishedAt: readonly Socket[] }[];
};

/** Everything of ours that listens on this host, and whether any of it does beyond loopback. */
export function exposureOf({ sockets, dtma, egress, servers }: Listening): Exposure {
  const known = [
    ...(dtma === undefined ? [] : [{ ...dtma, what: "dtma" }]),
    ...(egress === undefined ? [] : [{ ...egress, what: "egress-proxy" }]),
  ];
  const isEgress = ({ address, port }: Socket) => address === egress?.address && port === egress.port;
  const nameOf = (socket: Socket) => {
    if (isEgress(socket)) return "egress-proxy";
    return socket.port === dtma?.port ? "dtma" : "unknown";
  };
  const own = sockets?.map(({ address, port }) => ({ what: nameOf({ address, port }), address, port })) ?? known;
  const published = servers.flatMap(({ name, publishedAt }) =>
    publishedAt.map(({ address, port }) => ({ what: `server ${name}`, address, port })),
  );
  const listeners = [...own, ...published];
  return { beyondLoopback: listeners.some(({ address }) => !isLoopback(address)), listeners };
}
