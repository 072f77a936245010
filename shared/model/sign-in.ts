import { z } from "zod";
import { connectionId } from "./ids.ts";

/** Where the browser comes back to on this computer (RFC 8252, 7.3 and 8.3): as it was registered, letter by letter. */
export const redirectAddress = z
  .string()
  .max(300)
  .refine((value) => {
    const port = Number(/^http:\/\/(?:127\.0\.0\.1|localhost):(\d{4,5})(?:\/[\w./~-]*)?$/.exec(value)?.[1]);
    return port >= 1_024 && port <= 65_535;
  }, "Give an address of this computer with its port, such as http://127.0.0.1:28470/signed-in.");

/** The one that is proposed: the same on every computer, because many servers compare the port, too. */
export const proposedRedirectAddress = "http://127.0.0.1:28470/signed-in";

/** As what the control centre signs in at an authorization server that does not register it. Never holds the secret. */
export const signInClient = z.object({
  /** The authorization server (RFC 8414). One client serves every connection that signs in there. */
  issuer: z.url(),
  /** null while nobody has given one. */
  clientId: z.string().nullable(),
  hasSecret: z.boolean(),
  redirectAddress: z.string(),
  /** Whether somebody vouched for PKCE (S256) where the server's metadata is silent about it; null where it is not. */
  vouchesForPkce: z.boolean().nullable(),
});
export type SignInClient = z.infer<typeof signInClient>;

/** Somebody has to sign in, in the browser, at what stands in front of a toolbox; calls of the connection wait for it. */
export const waitingSignIn = z.object({
  connectionId,
  /** Where. */
  host: z.string(),
  /** The page that was opened. */
  url: z.string(),
  /** The client that somebody gave; null where the server registered one. */
  client: signInClient.nullable(),
});
export type WaitingSignIn = z.infer<typeof waitingSignIn>;

/** Nobody can sign in for a connection before somebody gives a client, or another one. */
export const neededClient = z.object({
  connectionId,
  client: signInClient,
  /** Why, in a sentence. */
  reason: z.string(),
});
export type NeededClient = z.infer<typeof neededClient>;
