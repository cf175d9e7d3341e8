local function inspect()
