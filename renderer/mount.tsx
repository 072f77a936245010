import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { startFeed } from "./state/feed.ts";
import { startClock } from "./state/now.ts";
import { restoreTheme } from "./state/ui.ts";

/** Puts the window into the page and starts what keeps it fresh. */
export function mountWindow(): void {
  const root = document.getElementById("root");
  if (root === null) throw new Error("The page has no root element.");
  restoreTheme();
  startClock();
  startFeed();
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
