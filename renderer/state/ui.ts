import { create } from "zustand";

export type Theme = "system" | "light" | "dark";

type Ui = {
  theme: Theme;
  isPaletteOpen: boolean;
  isQueueOpen: boolean;
  setTheme(theme: Theme): void;
  setPaletteOpen(isOpen: boolean): void;
  setQueueOpen(isOpen: boolean): void;
};

const themeKey = "dtma.theme";

/** What belongs to this window only. The theme is kept between starts. */
export const useUi = create<Ui>((set) => ({
  theme: "system",
  isPaletteOpen: false,
  isQueueOpen: false,
  setTheme(theme) {
    writeSetting(themeKey, theme === "system" ? null : theme);
    showTheme(theme);
    set({ theme });
  },
  setPaletteOpen: (isPaletteOpen) => set({ isPaletteOpen }),
  setQueueOpen: (isQueueOpen) => set({ isQueueOpen }),
}));

/** Puts the kept theme in place; before the first paint. */
export function restoreTheme(): void {
  const kept = readSetting(themeKey);
  const theme: Theme = kept === "light" || kept === "dark" ? kept : "system";
  showTheme(theme);
  useUi.setState({ theme });
}

function showTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Storage can be forbidden by the browser's settings; the window then forgets between starts. */
function readSetting(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function writeSetting(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    return;
  }
}
