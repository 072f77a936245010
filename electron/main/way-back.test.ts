import { request } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { createWaysBack, openWayBack, type WayBack } from "./way-back.ts";

const open: WayBack[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});
async function start(options?: Parameters<typeof openWayBack>[0], openHere = openWayBack): Promise<WayBack> {
  const made = await openHere(options);
  open.push(made);
  return made;
}

function visit(address: string | URL, { host, method = "GET" }: { host?: string; method?: string } = {}): Promise<number> {
  return new Promise((resolve, reject) => {
    request(address, { method, agent: false, headers: host === undefined ? {} : { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on("error", reject)
      .end();
  });
}

describe("the way back from the browser", () => {
  it("takes one answer with its state, from the browser only, and is gone afterwards", async () => {
    const way = await start();
    const back = `${way.redirectUrl}?code=given&state=${way.state}`;
    expect(new URL(way.redirectUrl).hostname).toBe("127.0.0.1");
    expect(await visit(`${way.redirectUrl}?code=stolen&state=guessed`)).toBe(404);
    expect(await visit(back.replace("/signed-in", "/elsewhere"))).toBe(404);
    expect(await visit(back, { host: "rebound.example" })).toBe(404);
    expect(await visit(back, { method: "POST" })).toBe(404);
    expect(await visit(back)).toBe(200);
    expect((await way.answer).get("code")).toBe("given");
    await expect(visit(back)).rejects.toThrow();
  });

  it("is the same one as before where its port is free, and another one where it is not", async () => {
    const first = await start();
    const port = Number(new URL(first.redirectUrl).port);
    const other = await start({ port });
    expect(other.redirectUrl).not.toBe(first.redirectUrl);
    await visit(`${first.redirectUrl}?code=given&state=${first.state}`);
    const again = await start({ port });
    expect(again.redirectUrl).toBe(first.redirectUrl);
    expect(again.state).not.toBe(first.state);
  });

  it("is the registered address, letter by letter, for everybody who comes back to it, and no other", async () => {
    const { port } = new URL((await start()).redirectUrl);
    for (const each of open.splice(0)) each.close();
    const address = `http://localhost:${port}`;
    const openHere = createWaysBack();
    const both = await Promise.all([start({ address }, openHere), start({ address }, openHere)]);
    await expect(openWayBack({ address })).rejects.toMatchObject({ code: "EADDRINUSE" });
    for (const { redirectUrl, state } of both) {
      expect(redirectUrl).toBe(address);
      const back = `http://127.0.0.1:${port}/?code=${state}&state=${state}`;
      expect(await visit(back)).toBe(404);
      expect(await visit(back, { host: `localhost:${port}` })).toBe(200);
    }
    for (const { state, answer } of both) expect((await answer).get("code")).toBe(state);
    await start({ address });
  });

  it("ends with a reason: nobody came, or it was cancelled", async () => {
    await expect((await start({ lifetimeMs: 20 })).answer).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const way = await start();
    way.close();
    await expect(way.answer).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(visit(way.redirectUrl)).rejects.toThrow();
  });
});
