import { ClaimsFunctionReplySchema, ClaimsFunctionSchema } from '@insforge/contract/factors.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { type CustomClaims, dropClaimsFunction, readClaimsFunction, setClaimsFunction } from '../custom-claims.ts';

/** Which SQL function adds claims to the tokens of users. */
export const customClaimsRoutes: FastifyPluginAsyncZod<{ db: Db; customClaims: CustomClaims }> = async (
  app,
  { db, customClaims },
) => {
  const PATH = '/api/auth/custom-claims';
  const response = { 200: ClaimsFunctionReplySchema };

  app.get(PATH, { schema: { response } }, async () => ({ function: await readClaimsFunction(db.system) }));

  app.put(PATH, { schema: { body: ClaimsFunctionSchema, response } }, async (request) => {
    const details = { function: request.body.function };
    await db.system.tx(async (tx) => {
      await setClaimsFunction(tx, details.function);
      await audit(tx, request, { action: 'SET_CUSTOM_CLAIMS', module: 'AUTH', details });
    });
    customClaims.forget();
    return { function: await readClaimsFunction(db.system) };
  });

  app.delete(PATH, { schema: { response } }, async (request) => {
    await db.system.tx(async (tx) => {
      await dropClaimsFunction(tx);
      await audit(tx, request, { action: 'REMOVE_CUSTOM_CLAIMS', module: 'AUTH', details: {} });
    });
    customClaims.forget();
    return { function: null };
  });
};
