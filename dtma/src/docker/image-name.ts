/*
How Docker reads image references (github.com/distribution/reference): the first part is a registry when it has a dot or
a port, or is `localhost`; everything else is on Docker Hub, whose names have several spellings.

INVARIANTS
- One registry has one name here, so that credentials kept under one of its spellings are found under every other.
*/

export const dockerHub = "docker.io";
/** What Docker calls Docker Hub where it speaks of credentials: part of its protocol, nothing is fetched from it. */
export const dockerHubLogin = "https://index.docker.io/v1/";
const hubNames = new Set([dockerHub, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"]);

/** The registry by its one name. Takes the forms people and Docker write: with a scheme, a path, in capitals. */
export function canonicalRegistry(text: string): string {
  const host = text
    .trim()
    .toLowerCase()
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/, "");
  return hubNames.has(host) ? dockerHub : host;
}

/** The registry an image comes from. */
export function registryOf(reference: string): string {
  return parts(reference).registry;
}

/** The digest that stands in a reference. */
export function pinnedDigest(reference: string): string | undefined {
  return /@(sha256:[a-f0-9]{64})$/.exec(reference)?.[1];
}

/**
 * The digest under which an image's registry knows it. An image can have several, of other repositories or of a tag that
 * came back to it; one that stands in the reference counts before them. Its id when it came from no registry.
 */
export function digestOf(reference: string, repoDigests: readonly string[], imageId: string): string {
  const pinned = pinnedDigest(reference);
  if (pinned !== undefined) return pinned;
  const wanted = parts(reference);
  const own = repoDigests.find((entry) => {
    const { registry, path } = parts(entry);
    return registry === wanted.registry && path === wanted.path;
  });
  return (own ?? repoDigests[0])?.split("@")[1] ?? imageId;
}

function parts(reference: string): { registry: string; path: string } {
  const name = reference.replace(/@.*$/, "").replace(/:[^:/]*$/, "");
  const slash = name.indexOf("/");
  const first = slash === -1 ? "" : name.slice(0, slash);
  const isRegistry = /[.:]/.test(first) || first === "localhost";
  const registry = isRegistry ? canonicalRegistry(first) : dockerHub;
  const path = isRegistry ? name.slice(slash + 1) : name;
  return { registry, path: registry === dockerHub && !path.includes("/") ? `library/${path}` : path };
}
