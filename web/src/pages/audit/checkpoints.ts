/** Why a checkpoint was made. */
export const REASONS: Record<string, string> = {
  schedule: 'The schedule',
  manual: 'Somebody asked for it',
  shutdown: 'Tenure was stopped',
};
