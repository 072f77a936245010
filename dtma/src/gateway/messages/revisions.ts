/** What we ask for as a client, and what a client gets that names none we know. */
export const newestSessionRevision = "2025-11-25";

/** The revisions with sessions; a session may also speak whatever its server has answered to `initialize`. */
export const sessionRevisions: ReadonlySet<string> = new Set(["2024-11-05", "2025-03-26", "2025-06-18", newestSessionRevision]);
