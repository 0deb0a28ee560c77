<?php
// For php -S HOST:PORT router.php
$slot = getenv('FORKFRONT_SLOT');
echo $slot === false ? '-' : $slot, ' ', getmypid(), ' ', substr($_SERVER['REQUEST_URI'], 1), "\n";
