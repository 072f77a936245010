import { RPCHandler } from "@orpc/server/message-port";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { StateEvent } from "../shared/contract/state.ts";
import type { ToolboxId } from "../shared/model/ids.ts";
import { createFixture } from "../test/fixtures/window/control-centre.ts";
import { api, call, carrierOfPort, keepConnected, linkState, listen } from "./api.ts";

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

/** The window's end of a link to an invented control centre, and what breaks it. */
function connect() {
  const fixture = createFixture("team");
  const handler = new RPCHandler(fixture.routes);
  let farEnd: MessagePort | undefined;
  const stop = keepConnected(() => {
    const channel = new MessageChannel();
    farEnd = channel.port1;
    handler.upgrade(channel.port1);
    channel.port1.start();
    return Promise.resolve(carrierOfPort(channel.port2));
  });
  const breakLink = () => farEnd?.close();
  endings.push(fixture.stop, stop, breakLink);
  return { breakLink };
}

const unknownToolbox = "00000000-0000-4000-8000-00000000ffff" as ToolboxId;

describe("the link to the control centre", () => {
  it("carries calls", async () => {
    connect();
    expect((await call(api.session.get())).roles).toContain("admin");
  });

  it("turns a defined failure into an AppError with its field", async () => {
    connect();
    const adding = call(api.toolboxes.add({ name: "x", url: "https://203.0.113.7:30000", token: "wrong", fingerprint: null }));
    await expect(adding).rejects.toMatchObject({ name: "AppError", code: "TOOLBOX_REFUSED", field: "token" });
    await expect(call(api.toolboxes.update({ id: unknownToolbox, name: "x", serversOnQuit: "keep" }))).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("names the field that the contract itself refuses", async () => {
    connect();
    const adding = call(api.toolboxes.add({ name: "  ", url: "https://203.0.113.7", token: "t", fingerprint: null }));
    await expect(adding).rejects.toMatchObject({ code: "INVALID_INPUT", field: "name", message: "Give it a name." });
  });

  it("lets a call wait for a link that is just being opened again", async () => {
    const { breakLink } = connect();
    await call(api.session.get());
    breakLink();
    await vi.waitFor(() => expect(linkState.get().state).toBe("lost"));
    expect((await call(api.session.get())).version).not.toBe("");
    expect(linkState.get().state).toBe("connected");
  });

  it("ends a stream that the link took down with an AppError, and one that was left without a word", async () => {
    const { breakLink } = connect();
    const broken = vi.fn();
    const left = vi.fn();
    const events: StateEvent[] = [];
    const leave = listen((signal) => api.state.watch({}, { signal }), {
      onEvent: () => undefined,
      onEnd: left,
      onError: left,
    });
    listen((signal) => api.state.watch({}, { signal }), {
      onEvent: (event) => events.push(event),
      onEnd: broken,
      onError: broken,
    });
    await vi.waitFor(() => expect(events[0]?.type).toBe("snapshot"));
    leave();
    breakLink();
    await vi.waitFor(() => expect(broken).toHaveBeenCalledOnce());
    expect(left).not.toHaveBeenCalled();
  });
});
