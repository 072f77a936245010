import { z } from "zod";

/** Imported first: the content security policy forbids the code that zod would otherwise generate. */
z.config({ jitless: true });
