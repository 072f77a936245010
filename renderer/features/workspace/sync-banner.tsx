import { Link, useLocation } from "wouter";
import { formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { buttonClass } from "../../ui/button.tsx";

/**
 * What about the shared database cannot wait for somebody to look at the status bar: nobody is signed in, somebody has to
 * act elsewhere, or the lists are not complete yet. An outage that passes by itself is not among it.
 */
export function SyncBanner() {
  const { link, isFirstPull, account } = useCopy((copy) => copy.facts.sync);
  const since = useNowSelect((now) => ("since" in link ? formatTime(link.since, now) : ""));
  const words = text.sync;
  if (link.state === "signed-out")
    return (
      <Banner tone="warn" action={<ToSettings label={words.signInAgain} />}>
        {words.signedOutBanner(since)}
      </Banner>
    );
  if (link.state === "blocked" && link.error.code === "NOT_A_MEMBER")
    return (
      <Banner action={<ToSettings label={words.openSettings} />}>
        <p className="font-medium">{words.waitingRoom.title}</p>
        <p className="text-muted">
          {words.waitingRoom.body(account?.who?.workspaceName ?? text.audit.entities.workspace ?? "")}
        </p>
      </Banner>
    );
  if (link.state === "blocked")
    return (
      <Banner tone="warn" action={<ToSettings label={words.openSettings} />}>
        {words.blockedBanner(since, link.error.message)}
      </Banner>
    );
  if (isFirstPull && (link.state === "online" || link.state === "connecting")) return <Banner>{words.firstPullBanner}</Banner>;
  return null;
}

/** The way to the settings; nothing where the person is there already. */
function ToSettings({ label }: { label: string }) {
  const [path] = useLocation();
  if (path === places.settings) return null;
  return (
    <Link href={places.settings} className={buttonClass("secondary", "sm")}>
      {label}
    </Link>
  );
}
