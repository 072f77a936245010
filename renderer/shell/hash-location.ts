import { useSyncExternalStore } from "react";
import type { BaseLocationHook, BaseSearchHook } from "wouter";

/*
The window's address lives behind `#`, path and query, so that the same links work under app:// and http://. Wouter's own
hash hook puts the query before the `#`, where it would outlive the screen it belongs to.
*/

const moved = "dtma:moved";

function subscribe(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  window.addEventListener("popstate", listener);
  window.addEventListener(moved, listener);
  return () => {
    window.removeEventListener("hashchange", listener);
    window.removeEventListener("popstate", listener);
    window.removeEventListener(moved, listener);
  };
}

function currentPath(): string {
  return `/${window.location.hash.replace(/^#?\/?/, "").split("?")[0] ?? ""}`;
}

function currentSearch(): string {
  const at = window.location.hash.indexOf("?");
  return at === -1 ? "" : window.location.hash.slice(at + 1);
}

/** Goes to a place of `places`; also outside of components. */
export function goTo(place: string, options: { replace?: boolean } = {}): void {
  const address = `#${place.startsWith("/") ? place : `/${place}`}`;
  if (options.replace === true) window.history.replaceState(null, "", address);
  else window.history.pushState(null, "", address);
  window.dispatchEvent(new Event(moved));
}

export const useHashPath: BaseLocationHook = () => [useSyncExternalStore(subscribe, currentPath), goTo];
useHashPath.hrefs = (href: string) => `#${href}`;

export const useHashSearch: BaseSearchHook = () => useSyncExternalStore(subscribe, currentSearch);
