import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { AppError } from "../../../shared/errors.ts";

/*
INVARIANTS
- Only files that were in the folder when the host started are served, by exact path: a path never becomes a file name,
  so there is nothing to traverse.
- Every answer carries `securityHeaders`, in both hosts.
*/

export type WindowFile = { status: 200 | 404; headers: Record<string, string>; body: Buffer };

export type WindowFiles = {
  /** `pathname` as it stands in the URL, still encoded. Paths that name no file and have no extension get the page. */
  read(pathname: string): Promise<WindowFile>;
};

/** No inline script or style, no eval, nothing from elsewhere; `'self'` in connect-src includes the WebSocket. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "font-src 'self'",
  "img-src 'self' data:",
  // Sound in a tool's result comes inside the result.
  "media-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": contentSecurityPolicy,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=()",
};

const mediaTypes: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".webmanifest": "application/manifest+json",
  ".woff2": "font/woff2",
};

/** Serves the built window from `folder`. Throws INTERNAL when it was never built. */
export function openWindowFiles(folder: string): WindowFiles {
  const files = new Map(listFiles(folder, "/"));
  const page = files.get("/index.html");
  if (page === undefined) {
    throw new AppError("INTERNAL", {
      message: `The window is not built (no ${join(folder, "index.html")}): run "npm run build".`,
    });
  }
  return {
    async read(pathname) {
      const exact = files.get(pathname === "/" ? "/index.html" : pathname);
      if (exact !== undefined) return found(exact, pathname);
      if (extname(pathname) === "") return found(page, "/");
      const headers = { ...securityHeaders, "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
      return { status: 404, headers, body: Buffer.from("Not found\n") };
    },
  };
}

async function found(file: string, pathname: string): Promise<WindowFile> {
  // The bundler puts a content hash into the names below assets/, and only there.
  const cacheable = pathname.startsWith("/assets/");
  return {
    status: 200,
    headers: {
      ...securityHeaders,
      "content-type": mediaTypes[extname(file)] ?? "application/octet-stream",
      "cache-control": cacheable ? "private, max-age=31536000, immutable" : "no-store",
    },
    body: await readFile(file),
  };
}

function listFiles(folder: string, urlPath: string): [string, string][] {
  let entries: { name: string; isDirectory(): boolean; isFile(): boolean }[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  return entries.flatMap((entry): [string, string][] => {
    if (entry.isDirectory()) return listFiles(join(folder, entry.name), `${urlPath}${encodeURIComponent(entry.name)}/`);
    return entry.isFile() ? [[`${urlPath}${encodeURIComponent(entry.name)}`, join(folder, entry.name)]] : [];
  });
}
