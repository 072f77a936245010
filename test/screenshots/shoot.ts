import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const folder = join(import.meta.dirname, "../../docs/screenshots");
const looks = [
  { colorScheme: "light", width: 1280 },
  { colorScheme: "dark", width: 1280 },
  { colorScheme: "light", width: 960 },
] as const;

/** Takes the page as it stands in every look, once announcements are gone. */
export async function shoot(page: Page, name: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  await expect
    .poll(() => page.getByRole("region", { name: "Notifications" }).getByRole("dialog").count(), { timeout: 15_000 })
    .toBe(0);
  for (const { colorScheme, width } of looks) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 800 });
    await page.mouse.move(0, 0);
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(folder, `${name}-${colorScheme}-${width}.png`) });
  }
  await page.setViewportSize({ width: 1280, height: 800 });
}
