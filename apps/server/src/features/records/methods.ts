/** Which methods a table or function can answer: by its nature, whoever asks. */
import { RecordsError } from './errors.ts';
import { findRelation, findRoutines, type Schema } from './schema/types.ts';

/** The value of the Allow header for a table or view. */
export function tableMethods(schema: Schema, schemaName: string, name: string): string {
  const relation = findRelation(schema, schemaName, name);
  if (!relation) throw new RecordsError('42P01', `relation "${schemaName}.${name}" does not exist`);
  const { can, primaryKey } = relation;
  return [
    'OPTIONS,GET,HEAD',
    ...(can.insert ? ['POST'] : []),
    ...(can.insert && can.update && primaryKey.length > 0 ? ['PUT'] : []),
    ...(can.update ? ['PATCH'] : []),
    ...(can.delete ? ['DELETE'] : []),
  ].join();
}

/** The value of the Allow header for a function: one that may write is not for GET. */
export function functionMethods(schema: Schema, schemaName: string, name: string): string {
  const routines = findRoutines(schema, schemaName, name);
  if (routines.length === 0) {
    throw new RecordsError('PGRST202', `Could not find the function ${schemaName}.${name} in the schema cache`);
  }
  return routines.every(({ isVolatile }) => isVolatile) ? 'OPTIONS,POST' : 'OPTIONS,GET,HEAD,POST';
}
