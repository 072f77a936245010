import { expect, it } from "vitest";
import { createSlots } from "./slots.ts";

const never = new AbortController().signal;

it("lets so many in, and the next when one leaves, in their order", async () => {
  const slots = createSlots(2);
  const order: string[] = [];
  const [first] = await Promise.all([slots.enter(never), slots.enter(never)]);
  const third = slots.enter(never).then((leave) => {
    order.push("third");
    return leave;
  });
  const fourth = slots.enter(never).then(() => order.push("fourth"));
  await Promise.resolve();
  expect(order).toEqual([]);
  first?.();
  first?.();
  const leaveThird = await third;
  expect(order).toEqual(["third"]);
  leaveThird();
  await fourth;
  expect(order).toEqual(["third", "fourth"]);
});

it("forgets who gave up waiting, and keeps the slot for the next", async () => {
  const slots = createSlots(1);
  const leave = await slots.enter(never);
  const impatient = new AbortController();
  const waiting = slots.enter(impatient.signal);
  const next = slots.enter(never);
  impatient.abort(new Error("no more time"));
  await expect(waiting).rejects.toThrow("no more time");
  leave();
  await expect(next).resolves.toBeTypeOf("function");
  await expect(slots.enter(AbortSignal.abort(new Error("too late")))).rejects.toThrow("too late");
});
