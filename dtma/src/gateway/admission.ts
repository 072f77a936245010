import { AppError } from "../../../shared/errors.ts";

/*
Who may have a process (or an HTTP session) of a server, and who waits for one. Bookkeeping only: nothing is started here.

INVARIANTS
- A server never has more slots than its cap, a connection never more than its own; a slot counts until it is released,
  so its holder releases it once the process is gone for certain, not before.
- Those of one connection are let in in the order in which they came. Connections take turns, so that one with many waiting
  holds up nobody else, and one that is at its own cap is passed over.
- Everybody who waits is let in, refused at the deadline, or has left: none is forgotten.
- A reserved slot (a spare process) gives way to whoever would have to wait for it, and is only given while one more stays
  free.
*/

/** A place for one process. */
export type Slot = {
  /** Gives it back; once, however often it is called. */
  release(): void;
};

export type Asker = {
  server: string;
  /** Undefined for the holder of the toolbox's own token, who has no cap but the server's. */
  connectionId: string | undefined;
  /** Ends the wait with its reason. */
  signal?: AbortSignal | undefined;
};

export type AdmissionLimits = {
  sessionsPerServer: number;
  sessionsPerConnection: number;
  /** How long somebody may wait; 0 refuses at once. As many may wait as may be in, of a server and of a connection. */
  queueMs: number;
};

export interface Admission {
  /** Resolves with a slot, at once or when it is the asker's turn. LIMIT_REACHED, or the signal's reason. */
  acquire(asker: Asker): Promise<Slot>;
  /**
   * A slot for a process that nobody has asked for yet; undefined when the server has none to spare. `giveWay` is called
   * at most once, when somebody waits for it: release it as soon as its process is gone.
   */
  reserve(server: string, giveWay: () => void): Slot | undefined;
  /** The connection is at its own cap. */
  isCapped(connectionId: string | undefined): boolean;
}

type Connection = string | undefined;
type Waiter = { connection: Connection; admit(slot: Slot): void };
type Place = {
  used: number;
  reserved: Set<{ giveWay: (() => void) | undefined }>;
  /** Connections in the order of their turns. */
  waiting: Map<Connection, Waiter[]>;
  waiters: number;
};

export function createAdmission(limits: AdmissionLimits): Admission {
  const places = new Map<string, Place>();
  const ofConnections = new Map<string, number>();

  function placeOf(server: string): Place {
    const known = places.get(server);
    if (known !== undefined) return known;
    const place: Place = { used: 0, reserved: new Set(), waiting: new Map(), waiters: 0 };
    places.set(server, place);
    return place;
  }

  const isFull = ({ used, reserved }: Place): boolean => used + reserved.size >= limits.sessionsPerServer;
  const isCapped = (connection: Connection): boolean =>
    connection !== undefined && (ofConnections.get(connection) ?? 0) >= limits.sessionsPerConnection;

  function forgetEmpty(server: string, place: Place): void {
    if (place.used === 0 && place.reserved.size === 0 && place.waiters === 0) places.delete(server);
  }

  function take(server: string, place: Place, connection: Connection): Slot {
    place.used++;
    if (connection !== undefined) ofConnections.set(connection, (ofConnections.get(connection) ?? 0) + 1);
    let isHeld = true;
    return {
      release() {
        if (!isHeld) return;
        isHeld = false;
        place.used--;
        if (connection !== undefined) {
          const left = (ofConnections.get(connection) ?? 1) - 1;
          if (left === 0) ofConnections.delete(connection);
          else ofConnections.set(connection, left);
        }
        letIn();
        forgetEmpty(server, place);
      },
    };
  }

  function leave(place: Place, waiter: Waiter): void {
    const line = place.waiting.get(waiter.connection);
    const at = line?.indexOf(waiter) ?? -1;
    if (line === undefined || at === -1) return;
    line.splice(at, 1);
    place.waiters--;
    if (line.length === 0) place.waiting.delete(waiter.connection);
  }

  /** A connection can have slots of several servers, so one that comes free may help somebody at another server. */
  function letIn(): void {
    for (const [server, place] of places) {
      let turn = nextOf(place);
      while (turn !== undefined && !isFull(place)) {
        const line = place.waiting.get(turn.connection) ?? [];
        leave(place, turn);
        if (line.length > 0) {
          place.waiting.delete(turn.connection);
          place.waiting.set(turn.connection, line);
        }
        turn.admit(take(server, place, turn.connection));
        turn = nextOf(place);
      }
      if (turn !== undefined) askForWay(place);
    }
  }

  function nextOf(place: Place): Waiter | undefined {
    for (const [connection, [first]] of place.waiting) if (!isCapped(connection)) return first;
    return undefined;
  }

  /** One spare process for each of those whom only the server's cap holds up. */
  function askForWay(place: Place): void {
    let wanted = 0;
    for (const [connection, line] of place.waiting) if (!isCapped(connection)) wanted += line.length;
    for (const reservation of [...place.reserved]) {
      if (wanted === 0) return;
      wanted--;
      const { giveWay } = reservation;
      reservation.giveWay = undefined;
      giveWay?.();
    }
  }

  function refusal({ server, connectionId }: Asker): AppError {
    const full = (places.get(server)?.used ?? 0) >= limits.sessionsPerServer || !isCapped(connectionId);
    return new AppError("LIMIT_REACHED", {
      message: `This ${full ? "server" : "connection"} has as many sessions as it may have. End one, or try again later.`,
    });
  }

  return {
    isCapped,
    acquire(asker) {
      const { server, connectionId: connection, signal } = asker;
      if (signal?.aborted) return Promise.reject(signal.reason);
      const place = placeOf(server);
      const line = place.waiting.get(connection) ?? [];
      if (line.length === 0 && !isFull(place) && !isCapped(connection)) return Promise.resolve(take(server, place, connection));
      const isLineFull =
        place.waiters >= limits.sessionsPerServer ||
        (connection !== undefined && line.length >= limits.sessionsPerConnection) ||
        limits.queueMs === 0;
      if (isLineFull) {
        forgetEmpty(server, place);
        return Promise.reject(refusal(asker));
      }
      return new Promise((resolve, reject) => {
        const giveUp = (reason: unknown): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          leave(place, waiter);
          forgetEmpty(server, place);
          reject(reason);
        };
        const onAbort = (): void => giveUp(signal?.reason);
        const timer = setTimeout(() => giveUp(refusal(asker)), limits.queueMs);
        signal?.addEventListener("abort", onAbort, { once: true });
        const waiter: Waiter = {
          connection,
          admit(slot) {
            clearTimeout(timer);
            signal?.removeEventListener("abort", onAbort);
            resolve(slot);
          },
        };
        line.push(waiter);
        place.waiting.set(connection, line);
        place.waiters++;
        letIn();
      });
    },

    reserve(server, giveWay) {
      const place = placeOf(server);
      if (place.waiters > 0 || place.used + place.reserved.size + 1 >= limits.sessionsPerServer) {
        forgetEmpty(server, place);
        return undefined;
      }
      const reservation: { giveWay: (() => void) | undefined } = { giveWay };
      place.reserved.add(reservation);
      return {
        release() {
          if (!place.reserved.delete(reservation)) return;
          letIn();
          forgetEmpty(server, place);
        },
      };
    },
  };
}
