# Installs the Muster agent on this host and enrols the host as connector @NAME@.
#
# The token in this script works once, until @EXPIRES@, for this name, this pool and this prefix only.
# The private key of the connector is made on this host and never leaves it.
# Nothing is trusted but the authority below, whose SHA-256 fingerprint is
#   @CA_SHA256@
#
#   powershell -ExecutionPolicy Bypass -File install.ps1            check, install, enrol, start, wait for the server
#   powershell -ExecutionPolicy Bypass -File install.ps1 -DryRun    check only; the token stays good
#   powershell -ExecutionPolicy Bypass -File install.ps1 -NoStart   install and enrol only
#   powershell -ExecutionPolicy Bypass -File install.ps1 -Agent C:\muster-agent.exe
#                                                                   use this agent instead of downloading one
#
# Running it again is safe: what is done already is left alone. A run that fails before the host is enrolled removes
# what it made. It needs Windows PowerShell 5.1 or later and a host with curl.exe (Windows 10 1803, Server 2019).
#
# Exit codes
#   0  done; the server has confirmed the first check-in
#   2  called with an argument that it does not know, or the script is a preview
#   3  this host lacks something: a FAIL line above says what, and how to get it
#   4  the server cannot be reached, or the agent is not the one that the server announced
#   5  the server did not enrol the host; the lines above say why
#   6  the agent is enrolled but could not be started
#   7  the agent runs, but the server has not confirmed its first check-in in time
param([switch]$DryRun, [switch]$NoStart, [string]$Agent = '')
$ErrorActionPreference = 'Stop'

$Name = '@NAME@'
$Server = '@SERVER@'
$ServerHost = '@SERVER_HOST@'
$ServerPort = @SERVER_PORT@
$Pool = '@POOL@'
$AgentPath = '@AGENT_PATH@'
$AgentSha256 = '@AGENT_SHA256@'
$CaSha256 = '@CA_SHA256@'
$Prefix = '@PREFIX@'
$ProxyMode = '@PROXY_MODE@'
$Proxy = '@PROXY@'
$ProxyUrl = '@PROXY_URL@'
$NoProxyGiven = '@NO_PROXY_GIVEN@'
$NoProxyList = '@NO_PROXY_LIST@'
$Start = '@START@'
$Renew = '@RENEW@'
$Preview = '@PREVIEW@'
$Ca = @'
@CA_PEM@
'@
$Token = '@TOKEN@'
$ProxyPassword = @'
@PROXY_PASSWORD@
'@

$MemoryMb = 64
$MemoryGoodMb = 128
$DiskMb = 128
$DiskGoodMb = 512
$SkewMax = 300
$SkewGood = 30
$ConfirmSeconds = 60

$script:Failures = 0
$script:Made = @()
$script:Enrolled = $false
$Work = $null

function Say([string]$Text) { Write-Output "muster: $Text" }

function Stop-Here([int]$Code, [string]$Text) {
    [Console]::Error.WriteLine("muster: $Text")
    throw [System.ApplicationException]::new("$Code")
}

# One line: what was measured, what is needed, and what to do.
function Verdict([string]$State, [string]$Check, [string]$Measured, [string]$Needed, [string]$Fix = '') {
    $Line = '{0,-4}  {1,-6}  {2}; needed: {3}' -f $State, $Check, $Measured, $Needed
    if ($State -ne 'PASS' -and $Fix) { $Line = "$Line; fix: $Fix" }
    if ($State -eq 'FAIL') { $script:Failures++ }
    Write-Output $Line
}

function Enough([long]$Found, [long]$Least, [long]$Good) {
    if ($Found -ge $Good) { 'PASS' } elseif ($Found -ge $Least) { 'WARN' } else { 'FAIL' }
}

function Test-Host {
    $Arch = $env:PROCESSOR_ARCHITECTURE
    $System = if ($Arch -eq 'AMD64') { 'windows-x86_64' } else { "windows-$($Arch.ToLower())" }
    if ($Agent) {
        $State = if (Test-Path -LiteralPath $Agent -PathType Leaf) { 'PASS' } else { 'FAIL' }
        Verdict $State 'system' "$System, agent $Agent" 'a file that is there' 'name the agent with -Agent'
    } elseif (-not $AgentPath.StartsWith('/agent/windows-')) {
        Verdict 'FAIL' 'system' "$System, and the server offers no agent for Windows" 'an agent for it' `
            'name a muster-agent.exe with -Agent'
    } else {
        $State = if ($AgentPath.StartsWith("/agent/$System/")) { 'PASS' } else { 'FAIL' }
        Verdict $State 'system' $System ($AgentPath.Split('/')[2]) 'use a host of that kind'
    }
    $Memory = [long]((Get-CimInstance Win32_OperatingSystem).FreePhysicalMemory / 1024)
    Verdict (Enough $Memory $MemoryMb $MemoryGoodMb) 'memory' "$Memory MB available" `
        "$MemoryMb MB, better $MemoryGoodMb MB" 'stop something, or add memory'
    $Drive = New-Object System.IO.DriveInfo ($Prefix.Substring(0, 1))
    $Free = [long]($Drive.AvailableFreeSpace / 1MB)
    Verdict (Enough $Free $DiskMb $DiskGoodMb) 'disk' "$Free MB free on $($Drive.Name)" `
        "$DiskMb MB, better $DiskGoodMb MB" 'free some, or add the connector again with --prefix on another volume'
    $Me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    $Admin = $Me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
    $State = if ($Admin) { 'PASS' } else { 'FAIL' }
    Verdict $State 'rights' $Me.Identity.Name 'a local administrator' 'run PowerShell as administrator'
    $State = if ($Prefix -match '^[A-Za-z]:\\[ -~]+$') { 'PASS' } else { 'FAIL' }
    Verdict $State 'path' $Prefix 'a drive and plain ASCII' 'add the connector again with --prefix'
    $State = if (Get-Command curl.exe -ErrorAction SilentlyContinue) { 'PASS' } else { 'FAIL' }
    Verdict $State 'tools' 'curl.exe' 'curl.exe on the PATH' 'use Windows 10 1803, Server 2019, or later'
}

# curl.exe trusts only the authority of this script; the proxy's URL may hold a password, so it is no argument.
function Invoke-Curl([string[]]$Words) {
    $Kept = $env:HTTPS_PROXY, $env:ALL_PROXY, $env:NO_PROXY
    try {
        if ($ProxyMode -in 'never', 'direct', 'url') { $env:HTTPS_PROXY = $null; $env:ALL_PROXY = $null }
        if ($ProxyMode -eq 'url') { $env:HTTPS_PROXY = $ProxyUrl; $env:NO_PROXY = $null }
        $All = @('--silent', '--show-error', '--proto', '=https', '--cacert', "$Work\ca.pem", '--ssl-no-revoke',
            '--connect-timeout', '15') + $Words
        # What a program writes to its standard error must not end the script.
        $ErrorActionPreference = 'Continue'
        & curl.exe @All 2> "$Work\said"
        return
    } finally {
        $env:HTTPS_PROXY, $env:ALL_PROXY, $env:NO_PROXY = $Kept
    }
}

function Test-Server {
    Invoke-Curl @('--max-time', '30', '--dump-header', "$Work\head", '--output', "$Work\body", "https://$Server/healthz")
    $Code = $LASTEXITCODE
    $Said = "$(Get-Content -Raw "$Work\said" -ErrorAction SilentlyContinue)".Trim()
    $Date = Get-Content "$Work\head" -ErrorAction SilentlyContinue | Where-Object { $_ -match '^date: ' } |
        Select-Object -Last 1
    if ($Date) {
        $Theirs = [DateTime]::Parse($Date.Substring(6), [Globalization.CultureInfo]::InvariantCulture).ToUniversalTime()
        $Skew = [long][Math]::Abs(([DateTime]::UtcNow - $Theirs).TotalSeconds)
        $State = if ($Skew -le $SkewGood) { 'PASS' } elseif ($Skew -le $SkewMax) { 'WARN' } else { 'FAIL' }
        Verdict $State 'clock' "$Skew s from the server" "at most $SkewMax s, better $SkewGood s" 'set the clock: w32tm /resync'
    } else {
        Verdict 'WARN' 'clock' 'not compared: the server is not reached' "within $SkewMax s of the server" 'see below'
    }
    if ($Code -eq 0) {
        Verdict 'PASS' 'server' "reached $Server, and it is the one of this script" "TCP and TLS to $Server"
    } elseif ($Code -in 5, 97) {
        Verdict 'FAIL' 'proxy' $Said "a way to $Server" "allow $Server in the proxy, or add the connector again with --proxy"
    } elseif ($Code -eq 6) {
        Verdict 'FAIL' 'dns' $Said "an address of $ServerHost" 'correct the DNS of this host'
    } elseif ($Code -in 35, 51, 53, 60, 77) {
        Verdict 'FAIL' 'tls' $Said 'the certificate of this fleet' "correct the clock; exempt $Server from TLS inspection"
    } else {
        Verdict 'FAIL' 'tcp' $Said "TCP to $Server" "let port $ServerPort of $ServerHost out in the firewall"
    }
}

function Get-Agent([string]$To) {
    if ($Agent) {
        Copy-Item -LiteralPath $Agent -Destination $To
        return
    }
    Say "downloading the agent from $Server"
    Invoke-Curl @('--fail', '--retry', '5', '--retry-max-time', '120', '--max-time', '600', '--output', $To,
        "https://$Server$AgentPath")
    if ($LASTEXITCODE -ne 0) {
        Stop-Here 4 "cannot download the agent from https://$Server$($AgentPath): $(Get-Content -Raw "$Work\said")"
    }
    $Found = (Get-FileHash -Algorithm SHA256 -LiteralPath $To).Hash.ToLower()
    if ($Found -ne $AgentSha256) {
        Stop-Here 4 "the agent is not the announced one (sha256 $Found, announced $AgentSha256); add the connector again"
    }
}

# Only administrators, and the system that runs the service, may look in.
function New-Private([string]$Path) {
    if (Test-Path -LiteralPath $Path -PathType Container) { return }
    $Above = Split-Path -Parent $Path
    if ($Above) { New-Private $Above }
    New-Item -ItemType Directory -Path $Path | Out-Null
    $script:Made = @($Path) + $script:Made
}

function Install-Agent {
    foreach ($Folder in "$Prefix\agent\versions", "$Prefix\state") { New-Private $Folder }
    & icacls.exe "$Prefix" /inheritance:r /grant:r '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null
    $Version = if ($Agent) { 'local' } else { $AgentSha256.Substring(0, 12) }
    $script:Program = "$Prefix\agent\versions\$Version\muster-agent.exe"
    if ((Test-Path -LiteralPath $script:Program) -and -not $Agent -and
        (Get-FileHash -Algorithm SHA256 -LiteralPath $script:Program).Hash.ToLower() -eq $AgentSha256) {
        Say 'the agent is here already'
        return
    }
    $Part = "$Work\muster-agent.exe"
    Get-Agent $Part
    if (-not (Test-Path -LiteralPath "$Prefix\agent\versions\$Version")) {
        New-Item -ItemType Directory -Path "$Prefix\agent\versions\$Version" | Out-Null
        $script:NewVersion = "$Prefix\agent\versions\$Version"
    }
    Move-Item -Force -LiteralPath $Part -Destination $script:Program
}

# What the agent must be told as long as it has no settings.
function Get-Introduction([string]$Verb) {
    $Words = @($Verb, '--prefix', $Prefix, '--server', $Server, '--ca', "$Work\ca.pem")
    if ($ProxyMode -eq 'never') { $Words += '--proxy', 'none' } elseif ($Proxy) { $Words += '--proxy', $Proxy }
    if ($NoProxyGiven) { $Words += "--no-proxy=$NoProxyList" }
    if ($ProxyPassword) {
        [IO.File]::WriteAllText("$Work\proxy-password", $ProxyPassword)
        $Words += '--proxy-password-file', "$Work\proxy-password"
    }
    return $Words
}

# What this script cannot do, MQTT above all, the agent checks before it enrols; and that it runs here at all.
function Test-Agent {
    $Words = (Get-Introduction 'check') + @('--before-enrol', '--ca-sha256', $CaSha256)
    $Lines = & $script:Program @Words
    if ($LASTEXITCODE -eq 0) {
        $Lines | Where-Object { $_ -match '^[A-Z]+  mqtt ' } | ForEach-Object { Write-Output $_ }
        return
    }
    $Lines | ForEach-Object { Write-Output $_ }
    Stop-Here 4 "the agent cannot work with $Server from here; the lines with FAIL say what to do"
}

function Register-Host {
    if ((Test-Path -LiteralPath "$Prefix\state\identity\cert.pem") -and $Renew -ne 'yes') {
        Say 'this host is enrolled already; its identity is kept'
        Say "to give it a new one, run on the server: muster connector add $Name --renew --shell powershell"
        $script:Enrolled = $true
        return
    }
    Say "enrolling $Name at $Server"
    # The token goes into a private file, never into the arguments of a program, where others could read it.
    [IO.File]::WriteAllText("$Work\token", $Token)
    $Words = (Get-Introduction 'enrol') + @('--name', $Name, '--token-file', "$Work\token")
    if ($Renew -eq 'yes') { $Words += '--force' }
    if ($Pool) { $Words += '--pool', $Pool }
    & $script:Program @Words
    if ($LASTEXITCODE -ne 0) {
        Stop-Here 5 "not enrolled; for a new token run on the server: muster connector add $Name --renew --shell powershell"
    }
    $script:Enrolled = $true
}

function Start-Agent {
    & $script:Program install --prefix $Prefix --no-start
    if ($LASTEXITCODE -ne 0) { Stop-Here 6 'the agent is enrolled, but is no service here' }
    & $script:Program restart --prefix $Prefix
    if ($LASTEXITCODE -ne 0) { Stop-Here 6 "the agent is enrolled, but did not start; see: $script:Program status" }
    Say 'waiting for the server to confirm the first check-in'
    & $script:Program status --prefix $Prefix --wait $ConfirmSeconds | Out-Null
    if ($LASTEXITCODE -ne 0) { Stop-Here 7 "not confirmed yet; the agent goes on trying. See: $script:Program status" }
    Say 'confirmed by the server'
}

# What this run brought goes, unless the host is enrolled.
function Undo {
    if ($script:NewVersion) { Remove-Item -Recurse -Force -LiteralPath $script:NewVersion -ErrorAction SilentlyContinue }
    foreach ($Folder in $script:Made) {
        if (-not (Get-ChildItem -Force -LiteralPath $Folder -ErrorAction SilentlyContinue)) {
            Remove-Item -Force -LiteralPath $Folder -ErrorAction SilentlyContinue
        }
    }
}

function Main {
    if ($Preview -eq 'yes' -and -not $DryRun) {
        Stop-Here 2 "this is a preview and has no token; run on the server: muster connector add $Name --shell powershell"
    }
    if (-not $Prefix) { $script:Prefix = "$env:ProgramData\Muster" }
    $script:Work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $Work | Out-Null
    & icacls.exe "$Work" /inheritance:r /grant:r "$([Security.Principal.WindowsIdentity]::GetCurrent().Name):(OI)(CI)F" | Out-Null
    [IO.File]::WriteAllText("$Work\ca.pem", $Ca)
    Test-Host
    if ($script:Failures) { Stop-Here 3 'this host cannot be a connector yet; the lines with FAIL say what to do' }
    Test-Server
    if ($script:Failures) { Stop-Here 4 "cannot download the agent from $Server; the lines with FAIL say what to do" }
    if ($DryRun) {
        Say "would install the agent to $Prefix, enrol this host as $Name at $Server and start the agent"
        Say 'dry run: nothing was changed, and the token is still good'
        return
    }
    Install-Agent
    if (-not (Test-Path -LiteralPath "$Prefix\state\identity\cert.pem")) { Test-Agent }
    Register-Host
    if ($NoStart -or $Start -eq 'no') {
        Say "done; start the agent with: $script:Program install --prefix $Prefix"
        return
    }
    Start-Agent
    Say "done; on the server: muster connector show $Name"
}

$Code = 0
try {
    Main
} catch [System.ApplicationException] {
    $Code = [int]$_.Exception.Message
} catch {
    [Console]::Error.WriteLine("muster: $($_.Exception.Message)")
    $Code = 3
} finally {
    if ($Work) { Remove-Item -Recurse -Force -LiteralPath $Work -ErrorAction SilentlyContinue }
    if (-not $script:Enrolled) { Undo }
}
exit $Code
