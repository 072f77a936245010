import type { StateEvent } from "../../shared/contract/state.ts";
import type { Facts } from "../../shared/model/facts.ts";
import { api, call, linkState, listen } from "../api.ts";
import { applyEvents } from "./copy.ts";
import { useCopy, useFeedError, useSession } from "./index.ts";

const longestFrameMs = 100;

/**
 * Feeds the copy from `state.watch` as long as the window lives: after a lost link it goes on at its cursor. Events of
 * one frame are applied together, so a burst costs one render. Returns a function that stops it.
 */
export function startFeed(): () => void {
  let stopStream: (() => void) | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let queue: StateEvent[] = [];
  /** Ends both ways in which the queue may be applied next; undefined while it is empty. */
  let unschedule: (() => void) | undefined;

  const apply = () => {
    unschedule?.();
    unschedule = undefined;
    const events = queue;
    queue = [];
    if (events.length > 0 && useFeedError.getState().error !== null) useFeedError.setState({ error: null });
    if (events.length > 0) useCopy.setState(applyEvents(useCopy.getState(), events));
  };

  const take = (event: StateEvent) => {
    queue.push(event);
    if (unschedule !== undefined) return;
    // Frames stop while the window is hidden or covered, also between this moment and the next one; the copy must not.
    const frame = requestAnimationFrame(apply);
    const timer = setTimeout(apply, longestFrameMs);
    unschedule = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  };

  const end = () => {
    clearTimeout(retry);
    stopStream?.();
    stopStream = null;
  };

  const begin = () => {
    end();
    apply();
    const since = useCopy.getState().cursor;
    const again = () => {
      stopStream = null;
      if (linkState.get().state === "connected") retry = setTimeout(begin, 1_000);
    };
    stopStream = listen((signal) => api.state.watch(since === null ? {} : { since }, { signal }), {
      onEvent: take,
      onEnd: again,
      onError(error) {
        useFeedError.setState({ error });
        again();
      },
    });
    readSession();
  };

  const readSession = () => {
    call(api.session.get()).then(
      (session) => useSession.setState({ session }),
      () => undefined,
    );
  };

  // The database decides the roles, and may do so at any time.
  let knownRoles = rolesOf(useCopy.getState().facts);
  const stopRoles = useCopy.subscribe(({ facts }) => {
    const roles = rolesOf(facts);
    if (roles === knownRoles) return;
    knownRoles = roles;
    readSession();
  });

  let isConnected = false;
  const follow = () => {
    const was = isConnected;
    isConnected = linkState.get().state === "connected";
    if (isConnected && !was) begin();
    else if (!isConnected && was) end();
  };
  const unsubscribe = linkState.subscribe(follow);
  follow();
  return () => {
    unsubscribe();
    stopRoles();
    end();
  };
}

function rolesOf({ sync }: Facts): string {
  return sync.account === null ? "local" : (sync.account.who?.roles.join() ?? "");
}
