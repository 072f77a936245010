import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import * as tls from "node:tls";
import { promisify } from "node:util";
import type { Pack } from "tar-stream";
import { AppError } from "../../../shared/errors.ts";
import type { Docker, EngineInfo } from "../docker/docker.ts";
import { sendTar } from "./tar.ts";

/*
A base image made of the Node binary the DTMA itself runs on, for toolboxes that cannot pull one: the binary, the
libraries it is linked with, accounts, name resolution and certificates. About 150 MB, made once.

INVARIANTS
- The tag is a hash of what is in it, so an upgraded Node makes a new image and an unchanged one is never made twice.
- It is the same for every scope and belongs to none; those of another Node go when nothing needs them.
*/

const layoutVersion = "1";
const nodePath = "usr/local/bin/node";
const runtimeLabel = "dev.dtma.runtime";
export const runtimeRepository = "dtma-runtime";
const systemCertificates = "/etc/ssl/certs/ca-certificates.crt";

/** Also opened by glibc at run time, though the binary is not linked with them. */
const lateLibraries = ["libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"];

export const serverUser = { uid: 1000, gid: 1000 };

type Contents = { hash: string; reference: string; libraries: string[]; certificates: string };

/** What the runtime image holds, or would hold. IMAGE_PULL_FAILED when this machine's Node cannot run in the Engine's containers. */
export async function describeRuntime(engine: EngineInfo, nodeRuntime: string): Promise<Contents> {
  // Inside the packaged app this program is Electron, which is no Node in a container.
  const isElectron = process.versions.electron !== undefined && nodeRuntime === process.execPath;
  if (process.platform !== "linux" || engine.os !== "linux" || engine.arch !== process.arch || isElectron) {
    throw new AppError("IMAGE_PULL_FAILED", {
      message: "No Node image could be pulled, and this machine's own Node cannot run in its containers.",
    });
  }
  const libraries = await linkedLibraries(nodeRuntime);
  const certificates = existsSync(systemCertificates)
    ? await readFile(systemCertificates, "utf8")
    : tls.rootCertificates.join("\n");
  const hash = await contentHash(nodeRuntime, libraries, certificates);
  return { hash, reference: `${runtimeRepository}:${hash}`, libraries, certificates };
}

/** The reference of the runtime image, made when it is not there. IMAGE_PULL_FAILED as `describeRuntime`. */
export async function ensureRuntimeImage(
  docker: Docker,
  engine: EngineInfo,
  nodeRuntime: string,
  signal: AbortSignal,
): Promise<string> {
  const { hash, reference, libraries, certificates } = await describeRuntime(engine, nodeRuntime);
  if ((await docker.getImage(reference)) !== undefined) return reference;
  const config = {
    labels: { [runtimeLabel]: hash },
    environment: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
  };
  await sendTar(
    (tar) => fill(tar, nodeRuntime, libraries, certificates),
    (tar) => docker.importImage(tar, reference, config, signal),
  );
  return reference;
}

async function fill(tar: Pack, nodeRuntime: string, libraries: string[], certificates: string): Promise<void> {
  const made = new Set<string>();
  const folder = (path: string, mode = 0o755, uid = 0) => {
    if (path === "." || path === "/" || made.has(path)) return;
    folder(dirname(path));
    made.add(path);
    tar.entry({ name: path, type: "directory", mode, uid, gid: uid });
  };
  const text = (path: string, content: string) => {
    folder(dirname(path));
    tar.entry({ name: path, mode: 0o644 }, content);
  };
  const copy = async (from: string, to: string) => {
    folder(dirname(to));
    const { size } = await stat(from);
    const entry = tar.entry({ name: to, mode: 0o755, size });
    await pipeline(createReadStream(from), entry);
  };
  folder("tmp", 0o1777);
  folder("run");
  folder("data", 0o755, serverUser.uid);
  text(
    "etc/passwd",
    `root:x:0:0:root:/:/sbin/nologin\nserver:x:${serverUser.uid}:${serverUser.gid}:server:/data:/sbin/nologin\n`,
  );
  text("etc/group", `root:x:0:\nserver:x:${serverUser.gid}:\n`);
  text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
  text("etc/ssl/certs/ca-certificates.crt", certificates);
  await copy(nodeRuntime, nodePath);
  for (const library of libraries) await copy(library, library.slice(1));
  tar.finalize();
}

/** Paths of the libraries a program of this machine needs, and of those that glibc opens late. */
export async function linkedLibraries(binary: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ldd", [binary]).catch((error: unknown) => {
    throw new AppError("IMAGE_PULL_FAILED", {
      message: "No Node image could be pulled, and the libraries of this machine's own Node cannot be listed.",
      cause: error,
    });
  });
  const linked = [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path as string);
  const folders = new Set(linked.map((path) => dirname(path)));
  const late = [...folders]
    .flatMap((path) => lateLibraries.map((name) => `${path}/${name}`))
    .filter((path) => existsSync(path));
  return [...new Set([...linked, ...late])];
}

/** Where Node lies on the host does not matter; libraries keep their paths in the image. */
async function contentHash(nodeRuntime: string, libraries: string[], certificates: string): Promise<string> {
  const hash = createHash("sha256").update(layoutVersion).update(certificates);
  for (const file of [nodeRuntime, ...libraries]) {
    hash.update(`\0${file === nodeRuntime ? nodePath : file}\0`);
    await pipeline(createReadStream(file), async (source) => {
      for await (const chunk of source) hash.update(chunk as Buffer);
    });
  }
  return hash.digest("hex").slice(0, 24);
}
