/** How well a text answers a query: higher is better, 0 is not at all. Case is ignored. */
export function rank(text: string, query: string): number {
  const needle = query.trim().toLowerCase();
  if (needle === "") return 1;
  const hay = text.toLowerCase();
  if (hay === needle) return 100;
  if (hay.startsWith(needle)) return 80;
  const at = hay.indexOf(needle);
  if (at > 0) return /[a-z0-9]/.test(hay[at - 1] ?? "") ? 40 : 60;
  const words = needle.split(/\s+/);
  if (words.length > 1 && words.every((word) => hay.includes(word))) return 30;
  return needle.length >= 2 && initials(hay).startsWith(needle) ? 20 : 0;
}

/** `st` of `sequential-thinking`. */
function initials(hay: string): string {
  return hay
    .split(/[^a-z0-9]+/)
    .map((word) => word[0] ?? "")
    .join("");
}

/** The best entries, best first; entries of the same rank keep their order. */
export function best<Entry>(
  entries: Iterable<Entry>,
  textOf: (entry: Entry) => string,
  query: string,
  limit: number,
): { entry: Entry; rank: number }[] {
  const ranked: { entry: Entry; rank: number }[] = [];
  for (const entry of entries) {
    const value = rank(textOf(entry), query);
    if (value > 0) ranked.push({ entry, rank: value });
  }
  return ranked.sort((one, other) => other.rank - one.rank).slice(0, limit);
}
