-- How one asks the connected system who has an entitlement: {command, params, key}.
ALTER TABLE entitlement ADD COLUMN list_call TEXT;
