%% SPDX-License-Identifier: Apache-2.0
%% @doc The characters of HTTP: is a piece of a message of its grammar.
%% Pure, and hot: runs in the connection process for every request; four bytes at a time where
%% most bytes are plain, whole names where most names are known.
-module(hornbeam_edge_syntax).

-export([is_token/1, is_field_name/1, is_field_value/1, is_visible/1, is_authority/1, is_digits/1]).

%% RFC 9110 5.6.2 less the underscore; the most frequent in header names come first.
-define(IS_FIELD(C),
    (C >= $a andalso C =< $z) orelse C =:= $- orelse (C >= $0 andalso C =< $9) orelse
    C =:= $! orelse C =:= $# orelse C =:= $$ orelse C =:= $% orelse C =:= $& orelse
    C =:= $' orelse C =:= $* orelse C =:= $+ orelse C =:= $. orelse C =:= $^ orelse
    C =:= $` orelse C =:= $| orelse C =:= $~ orelse (C >= $A andalso C =< $Z)).

%% RFC 3986 3.2.2, unreserved and sub-delims, less the comma: it joins repeated headers.
-define(IS_HOST(C),
    (C >= $a andalso C =< $z) orelse (C >= $0 andalso C =< $9) orelse C =:= $. orelse
    C =:= $- orelse (C >= $A andalso C =< $Z) orelse C =:= $_ orelse C =:= $~ orelse
    C =:= $! orelse C =:= $$ orelse C =:= $& orelse C =:= $' orelse C =:= $( orelse
    C =:= $) orelse C =:= $* orelse C =:= $+ orelse C =:= $; orelse C =:= $=).

%% Four bytes at once: true when each is in Low..16#7E. A byte below Low borrows, 16#7F carries,
%% and one above has its high bit set already. 32 bits are what every OTP matches without a call.
-define(IN_RANGE(W, Low),
    (W bor (W - Low * 16#01010101) bor (W + 16#01010101)) band 16#80808080 =:= 0
).

%% @doc One character or more of RFC 9110 5.6.2.
-spec is_token(binary()) -> boolean().
is_token(<<C, Rest/binary>>) when ?IS_FIELD(C); C =:= $_ -> Rest =:= <<>> orelse is_token(Rest);
is_token(_) -> false.

%% @doc A token without underscore: CGI's HTTP_X_Y is both x-y and x_y, so that one could pass for
%% the other. (RFC 9110 5.1, RFC 3875 4.1.18)
-spec is_field_name(binary()) -> boolean().
is_field_name(Name) -> is_common(Name) orelse is_field(Name).

is_field(<<C, Rest/binary>>) when ?IS_FIELD(C) -> Rest =:= <<>> orelse is_field(Rest);
is_field(_) -> false.

%% Names that most requests carry: told faster as a whole than byte by byte.
is_common(<<"host">>) -> true;
is_common(<<"user-agent">>) -> true;
is_common(<<"accept">>) -> true;
is_common(<<"accept-encoding">>) -> true;
is_common(<<"accept-language">>) -> true;
is_common(<<"connection">>) -> true;
is_common(<<"cookie">>) -> true;
is_common(<<"content-length">>) -> true;
is_common(<<"content-type">>) -> true;
is_common(<<"cache-control">>) -> true;
is_common(<<"referer">>) -> true;
is_common(<<"origin">>) -> true;
is_common(<<"authorization">>) -> true;
is_common(<<"sec-fetch-site">>) -> true;
is_common(<<"sec-fetch-mode">>) -> true;
is_common(<<"sec-fetch-dest">>) -> true;
is_common(<<"sec-fetch-user">>) -> true;
is_common(<<"sec-ch-ua">>) -> true;
is_common(<<"sec-ch-ua-mobile">>) -> true;
is_common(<<"sec-ch-ua-platform">>) -> true;
is_common(<<"upgrade-insecure-requests">>) -> true;
is_common(<<"if-none-match">>) -> true;
is_common(<<"if-modified-since">>) -> true;
is_common(<<"x-forwarded-for">>) -> true;
is_common(<<"x-forwarded-proto">>) -> true;
is_common(<<"priority">>) -> true;
is_common(_) -> false.

%% @doc No control character but tab. Bytes above ASCII are legal there and reach the application
%% as latin-1. (RFC 9110 5.5)
-spec is_field_value(binary()) -> boolean().
is_field_value(<<W:32, Rest/binary>>) when ?IN_RANGE(W, 16#20) -> is_field_value(Rest);
is_field_value(<<C, Rest/binary>>) when C >= 16#20, C =/= 16#7F -> is_field_value(Rest);
is_field_value(<<$\t, Rest/binary>>) -> is_field_value(Rest);
is_field_value(<<>>) -> true;
is_field_value(_) -> false.

%% @doc No space, control or non-ASCII byte. (RFC 3986 2)
-spec is_visible(binary()) -> boolean().
is_visible(<<W:32, Rest/binary>>) when ?IN_RANGE(W, 16#21) -> is_visible(Rest);
is_visible(<<C, Rest/binary>>) when C > 16#20, C < 16#7F -> is_visible(Rest);
is_visible(<<>>) -> true;
is_visible(_) -> false.

%% @doc Host with an optional port: a name, an IPv4 or a bracketed IPv6 address. (RFC 9110 7.2)
-spec is_authority(binary()) -> boolean().
is_authority(<<"[", Rest/binary>>) ->
    case binary:split(Rest, <<"]">>) of
        [Address, Port] -> is_ipv6(Address) andalso is_colon_port(Port);
        [_] -> false
    end;
is_authority(<<C, Rest/binary>>) when ?IS_HOST(C) ->
    is_host(Rest);
is_authority(_) ->
    false.

is_host(<<C, Rest/binary>>) when ?IS_HOST(C) -> is_host(Rest);
is_host(Rest) -> is_colon_port(Rest).

is_ipv6(Address) ->
    element(1, inet:parse_ipv6strict_address(binary_to_list(Address))) =:= ok andalso
        binary:match(Address, <<"%">>) =:= nomatch.

is_colon_port(<<>>) -> true;
is_colon_port(<<":", Digits/binary>>) when byte_size(Digits) =< 5 ->
    is_digits(Digits) andalso binary_to_integer(Digits) =< 65535;
is_colon_port(_) -> false.

%% @doc One decimal digit or more.
-spec is_digits(binary()) -> boolean().
is_digits(<<C, Rest/binary>>) when C >= $0, C =< $9 -> Rest =:= <<>> orelse is_digits(Rest);
is_digits(_) -> false.
