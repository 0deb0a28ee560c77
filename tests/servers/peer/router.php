<?php
// For php -S HOST:PORT router.php: who asks.
echo $_SERVER['REMOTE_ADDR'], ' ', $_SERVER['REMOTE_PORT'], "\n";
