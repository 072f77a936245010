import type { Pack } from "tar-stream";
import { z } from "zod";
import type { ServerId } from "../../shared/model/ids.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";
import { type DataFolder, readKept } from "./data-folder.ts";
import type { ContainerView, Docker } from "./docker/docker.ts";
import { serverUser } from "./images/runtime.ts";
import { sendTar } from "./images/tar.ts";
import {
  kindLabels,
  readServerLabels,
  type Scope,
  scopeFilter,
  serverIdLabel,
  serverNameLabel,
  volumeLabels,
  volumeName,
} from "./labels.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- New volumes are written down before they are made and struck out when the deploy has succeeded, so that the next start
  removes those of a deploy that was killed, and never one that a server has.
*/

const fileName = "pending-volumes.json";

export interface Volumes {
  /** Makes those of a spec that are not there. `made` is told of the new ones before the first is made. */
  create(spec: ServerSpec, id: ServerId, made: (names: string[]) => void): Promise<{ volume: string; path: string }[]>;
  /** A new volume belongs to root unless its path is in the image; the package's user must be able to write to it. */
  giveToServer(image: string, volumes: string[], signal: AbortSignal): Promise<void>;
  /** The deploy they were made for has succeeded. */
  keep(volumes: readonly string[]): Promise<void>;
  /** Takes them back. */
  remove(volumes: readonly string[]): Promise<void>;
  removeOfServer(name: string): Promise<void>;
  /** Removes those of deploys that were killed; `left` are the containers that stay. */
  removePending(left: readonly ContainerView[]): Promise<void>;
}

type VolumesDeps = { docker: Docker; scope: Scope; data: DataFolder; log: Log };

export function createVolumes({ docker, scope, data, log }: VolumesDeps): Volumes {
  const pending = new Set<string>();
  let writing: Promise<void> = Promise.resolve();

  /** Writes follow one another, each with all there is at its moment. */
  function save(): Promise<void> {
    writing = writing.catch(() => {}).then(() => data.write(fileName, JSON.stringify([...pending])));
    return writing;
  }

  async function strikeOut(volumes: readonly string[]): Promise<void> {
    if (volumes.length === 0) return;
    for (const volume of volumes) pending.delete(volume);
    await save();
  }

  return {
    async create(spec, id, made) {
      const wanted = spec.permissions.volumes.map(({ name, path }) => ({ volume: volumeName(scope, id, name), path }));
      if (wanted.length === 0) return [];
      const existing = new Set(
        (await docker.listVolumes({ ...scopeFilter(scope), [serverIdLabel]: id })).map(({ name }) => name),
      );
      const fresh = wanted.map(({ volume }) => volume).filter((volume) => !existing.has(volume));
      made(fresh);
      for (const volume of fresh) pending.add(volume);
      await save();
      for (const volume of fresh) await docker.createVolume(volume, volumeLabels(scope, spec, id));
      return wanted;
    },

    async giveToServer(image, volumes, signal) {
      const mounts = volumes.map((volume, index) => ({ volume, path: `/dtma-volumes/${index}` }));
      const container = await docker.createBuildContainer(image, kindLabels(scope, "build"), signal, mounts);
      try {
        const fill = async (tar: Pack) => {
          for (const { path } of mounts) {
            tar.entry({ name: path.slice(1), type: "directory", mode: 0o755, uid: serverUser.uid, gid: serverUser.gid });
          }
          tar.finalize();
        };
        await sendTar(fill, (tar) => docker.putArchive(container, "/", tar, signal));
      } finally {
        await docker.removeContainer(container);
      }
    },

    keep: strikeOut,

    async remove(volumes) {
      for (const volume of volumes) await docker.removeVolume(volume);
      await strikeOut(volumes);
    },

    async removeOfServer(name) {
      for (const volume of await docker.listVolumes({ ...scopeFilter(scope), [serverNameLabel]: name })) {
        await docker.removeVolume(volume.name);
      }
    },

    async removePending(left) {
      const used = new Set(
        left.flatMap(({ labels }) => {
          const server = readServerLabels(labels);
          if (server === undefined) return [];
          return server.spec.permissions.volumes.map(({ name }) => volumeName(scope, server.serverId, name));
        }),
      );
      const written = (await readKept(data, fileName, z.array(z.string()), log)) ?? [];
      for (const volume of written) if (!used.has(volume)) await docker.removeVolume(volume);
      await save();
    },
  };
}
