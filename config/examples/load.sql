-- The paid orders of yesterday; \N stands for a missing note.
INSERT OVERWRITE TABLE report.orders
SELECT id, "EUR", amount, note
FROM shop.orders
WHERE status <> '已取消' AND day = date_sub(current_date(), 1) AND note <> '\\N'
